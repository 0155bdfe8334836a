"""Watches the answers of one version of a model, and raises an alarm that keeps a promise.

The promise is a number of false alarms a month, whatever the traffic is. It is spent as time goes
by: half of it by the test that may be looked at after every example, the other half by tests of
whole windows. A window is judged at a level that is the half's part for the time since the last
one.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .accuracy import EstimatedAccuracy
from .causes import Cause, rank_causes
from .history import DriftHistory
from .measured import measure_examples
from .reference import Reference
from .sequential import SequentialTest
from .window import WindowJudge, WindowVerdict

# N window's examples, S statistics.

MONTH = 30 * 24 * 3600.0
FALSE_ALARMS = 1.0
"""How many there may be a month, on average: the promise."""

WINDOW = 200
"""Examples of a window: enough to see what matters, and few enough to see it soon. What moves less
is seen by the bets, which add up all examples."""

PACE = 60.0
"""Seconds between two judgements, at least."""

BETS = "bets"
"""The name of the test that may be looked at after every example."""

_LONGEST = 3600.0
"""Seconds that count for the time since the last example, at most."""

MOST_PENDING = 16 << 20
"""Bytes of inputs that wait to be measured; of more, some are left out."""


@dataclass(frozen=True)
class DriftAlarm:
    """That the world has moved."""

    since: float
    """About when it began, in seconds since 1970."""
    after: int
    """Examples that had been seen by then."""
    noticed: float
    by: str
    """The test that noticed it."""
    moved: tuple[str, ...]
    """The statistics that moved most."""
    causes: tuple[Cause, ...]
    """The most likely first."""

    def as_json(self) -> dict[str, Any]:
        return {
            "since": iso_time(self.since),
            "after": self.after,
            "noticed": iso_time(self.noticed),
            "by": self.by,
            "moved": list(self.moved),
            "causes": [c.as_json() for c in self.causes],
        }


class ModelWatch:
    """What is known of the traffic of one version; bounded, and it holds no example for long.

    `add` is quick; `settle`, which another thread may call, does the work.
    """

    def __init__(self, reference: Reference, signature: Mapping[str, Any]):
        self.reference = reference
        self.history = DriftHistory()
        self.bets = SequentialTest(reference)
        self.alarm: DriftAlarm | None = None
        """The first one; it stays."""
        self.verdict: WindowVerdict | None = None
        """Of the last window that was judged."""
        self.skipped = 0
        self._signature = signature
        self._pending: list[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]] = []
        self._waiting = self._bytes = 0
        self._adding, self._settling = threading.Lock(), threading.Lock()
        self._values_NS = np.zeros((0, len(reference.names)), np.float32)
        self._label_N = np.zeros(0, np.int64)
        self._judge: WindowJudge | None = None
        self._seen_at = time.monotonic()
        self._judged_at = -np.inf
        self._judged: dict[str, Any] = {}
        """When the last window was judged, and how many examples had been seen by then."""
        self._new = 0
        self._began = 0

    @property
    def waiting(self) -> int:
        """Rows that wait to be measured."""
        return self._waiting

    def add(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Takes a request's inputs and outputs [B, ...], to be measured soon."""
        rows = len(next(iter(inputs.values())))
        size = sum(x.nbytes for x in inputs.values())
        with self._adding:
            if self._bytes + size > MOST_PENDING and self._waiting:
                self.skipped += rows
            else:
                self._pending.append((inputs, outputs))
                self._waiting += rows
                self._bytes += size

    def settle(self) -> None:
        """Measures what waits, bets on it, and judges a window if one is due.

        Raises:
          ValueError: when the reference is of other statistics than this server measures.
        """
        with self._settling:
            with self._adding:
                pending, self._pending = self._pending, []
                self._waiting = self._bytes = 0
            if not pending:
                return
            inputs = {k: np.concatenate([p[0][k] for p in pending]) for k in pending[0][0]}
            outputs = {k: np.concatenate([p[1][k] for p in pending]) for k in pending[0][1]}
            measured = measure_examples(self._signature, inputs, outputs)
            if measured.names != self.reference.names:
                raise ValueError("the bundle's reference is of other statistics than these")
            self._take(measured.values, measured.label, time.time(), time.monotonic())

    def _take(
        self, values_BS: np.ndarray, label_B: np.ndarray | None, wall: float, now: float
    ) -> None:
        self.history.add(values_BS, wall)
        passed = min(max(now - self._seen_at, 1e-6), _LONGEST)
        self._seen_at = now
        self.bets.watch(values_BS, FALSE_ALARMS / 2 * passed / MONTH / len(values_BS))
        self._values_NS = np.concatenate([self._values_NS, values_BS])[-WINDOW:]
        if label_B is not None:
            self._label_N = np.concatenate([self._label_N, label_B])[-WINDOW:]
        self._new += len(values_BS)
        if self._new >= WINDOW and now - self._judged_at >= PACE:
            passed = min(max(now - self._judged_at, PACE), _LONGEST)
            passed = PACE if np.isinf(self._judged_at) else passed
            self._judge = self._judge or WindowJudge(self.reference, WINDOW)
            level = FALSE_ALARMS / 2 * passed / MONTH
            self.verdict = self._judge.judge(self._values_NS, self._label, level)
            self._judged_at, self._new = now, 0
            self._judged = {"judged": iso_time(wall), "after": self.bets.seen}
        if self.alarm is None:
            self.alarm = self._find_alarm(wall)
        elif self._is_young_alarm(len(values_BS)):
            self.alarm = replace(self.alarm, causes=self._rank_causes())

    def _is_young_alarm(self, new: int) -> bool:
        """Tells whether fewer than a window have come since it began, but for so many new ones: the
        first few tell that something moved, and more of them tell what.
        """
        by_bets = self.alarm is not None and self.alarm.by == BETS
        return by_bets and self.bets.evidence >= 1 and self.bets.seen - new - self._began < WINDOW

    @property
    def _label(self) -> np.ndarray | None:
        return self._label_N if len(self._label_N) else None

    def _find_alarm(self, wall: float) -> DriftAlarm | None:
        """Returns the alarm that there is now, if there is one."""
        if self.bets.most >= 1:
            self._began = self.bets.since
            order = np.argsort(-self.bets.by_statistic(), kind="stable")[:3]
            moved = tuple(self.reference.names[i] for i in order)
            began = self.history.time_of(self._began) or wall
            return DriftAlarm(began, self._began, wall, BETS, moved, self._rank_causes())
        if self.verdict is not None and self.verdict.alarm:
            by = next(t.test for t in self.verdict.tests if t.alarm)
            after = self.bets.seen - len(self._values_NS)
            began = self.history.time_of(after) or wall
            moved = tuple(s.name for s in self.verdict.statistics[:3])
            return DriftAlarm(began, after, wall, by, moved, self.verdict.causes)
        return None

    def _rank_causes(self) -> tuple[Cause, ...]:
        """Ranks the causes of how the examples moved since it began."""
        recent = min(max(self.bets.seen - self._began, 1), len(self._values_NS))
        label = None if self._label is None else self._label[-recent:]
        return tuple(rank_causes(self.reference, self._values_NS[-recent:], label))

    @property
    def performance(self) -> EstimatedAccuracy | None:
        """The accuracy without labels of the last window; None before it or without a truth."""
        return self.verdict.performance if self.verdict else None

    def as_json(self) -> dict[str, Any]:
        """Says what moved, since when and why; read while nothing settles."""
        with self._settling:
            evidence = self.bets.by_statistic()
            scale = self.reference.scale
            return {
                "watched": True,
                "alarm": self.alarm.as_json() if self.alarm else None,
                "promise": {"false_alarms_per_month": FALSE_ALARMS, "window": WINDOW},
                "examples": self.bets.seen,
                "skipped": self.skipped,
                "reference": {"examples": len(self.reference), **self.reference.splits},
                "bets": {
                    "evidence": self.bets.evidence,
                    "most": self.bets.most,
                    "alarm": self.bets.most >= 1,
                },
                "window": self.verdict.as_json() | self._judged if self.verdict else None,
                "performance": self.performance.as_json() if self.performance else None,
                "history": [
                    {"time": iso_time(p.time), "examples": p.examples} for p in self.history.points
                ],
                "statistics": [
                    {
                        "name": name,
                        "evidence": float(evidence[i]),
                        "mean": float(self.reference.centre[i]),
                        "spread": float(scale[i]),
                        "history": [round(float(p.mean[i]), 6) for p in self.history.points],
                    }
                    for i, name in enumerate(self.reference.names)
                ],
            }


def iso_time(seconds: float) -> str:
    """Returns a time as `2026-11-29T14:30:00+00:00`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
