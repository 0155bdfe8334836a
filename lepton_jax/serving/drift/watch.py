"""The observer of a server that watches for drift: a `ModelWatch` for each version that answers."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BundleError
from ..observed.logs import log_event
from .model_watch import ModelWatch
from .prompts import FirstPrompts, lay_out_prompts
from .reference import read_reference

if TYPE_CHECKING:
    from ..live.served import ServedModel

TOGETHER = 32
"""Rows that are measured at a time, in a thread beside the event loop."""

_MOST_VERSIONS = 2
"""Of a model, that are watched: the newest ones."""

INPUTS, PROMPTS = "inputs", "prompts"
"""What is watched of a version: the inputs of a request, or the prompts of texts that go on."""

Key = tuple[str, str, str]
"""A model, its version, and what is watched of it."""


class DriftWatch:
    """Watches every version whose bundle holds statistics of its held-out examples."""

    def __init__(self, registry: Any = None):
        """Begins to watch.

        Args:
          registry: of Prometheus, for the numbers of /metrics; None for none.
        """
        self._watches: dict[Key, ModelWatch | FirstPrompts | str] = {}
        """A text says why that one is not watched."""
        self._thread = ThreadPoolExecutor(1, "drift")
        self._busy: set[Key] = set()
        self._gauges: dict[str, Any] = {}
        if registry is not None:
            from prometheus_client import Gauge

            names = ["model", "version", "of"]
            self._gauges = {
                "alarm": Gauge(
                    "lepton_drift_alarm", "1 once the inputs have moved", names, registry=registry
                ),
                "evidence": Gauge(
                    "lepton_drift_evidence", "Of drift; 1 is an alarm", names, registry=registry
                ),
                "accuracy": Gauge(
                    "lepton_estimated_accuracy", "Without labels", names, registry=registry
                ),
            }

    def observe(
        self,
        served: "ServedModel",
        request_id: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes a request's inputs and outputs; as `AnswerObserver`."""
        key = (served.name, served.version, INPUTS if parameters is None else PROMPTS)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = self._begin(served, key[-1])
            self._forget(served.name, key[-1])
        if isinstance(watch, str):
            return
        if parameters is not None:  # of several texts of one prompt, the prompt counts once
            prompts = {name: x[:: parameters["n"]] for name, x in inputs.items()}
            inputs, outputs = lay_out_prompts(served.bundle.signature, prompts), {}
        watch.add(inputs, outputs)
        if watch.waiting >= TOGETHER and key not in self._busy:
            self._busy.add(key)
            self._thread.submit(self._settle, key)

    def settle(self) -> None:
        """Measures all that waits. Takes a moment: not for the event loop."""
        for key in list(self._watches):
            self._settle(key)

    def as_json(self) -> list[dict[str, Any]]:
        """Says for each version what moved, since when and why."""
        found = []
        for (name, version, of), watch in list(self._watches.items()):
            said = {"watched": False, "why": watch} if isinstance(watch, str) else watch.as_json()
            found.append({"model": name, "version": version, "of": of, **said})
        return found

    def _begin(self, served: "ServedModel", of: str) -> ModelWatch | FirstPrompts | str:
        if of == PROMPTS:
            return FirstPrompts(served.bundle.signature)
        try:
            reference = read_reference(served.bundle.folder)
        except BundleError as e:
            return str(e)
        if reference is None:
            return "the bundle holds no statistics of held-out examples; export it again"
        return ModelWatch(reference, served.bundle.signature)

    def _forget(self, name: str, of: str) -> None:
        there = [k for k in self._watches if (k[0], k[-1]) == (name, of)]
        for key in there[:-_MOST_VERSIONS]:
            del self._watches[key]
            for gauge in self._gauges.values():
                with suppress(KeyError):
                    gauge.remove(*key)

    def _settle(self, key: Key) -> None:
        self._busy.discard(key)
        watch = self._watches.get(key)
        if watch is None or isinstance(watch, str):
            return
        before = watch.alarm if isinstance(watch, ModelWatch) else None
        try:
            later = watch.settle()
        except Exception as e:  # noqa: BLE001  whoever looks on takes no answer away
            why = f"it could not be watched: {type(e).__name__}: {e!s:.200}"
            log_event("drift is not watched", model=key[0], version=key[1], why=why)
            self._watches[key] = why
            return
        if not isinstance(watch, ModelWatch):
            if later is not None:
                self._watches[key] = later
            return
        if watch.alarm is not None and before is None:
            log_event("drift", model=key[0], version=key[1], **watch.alarm.as_json())
        if self._gauges:
            self._gauges["alarm"].labels(*key).set(watch.alarm is not None)
            self._gauges["evidence"].labels(*key).set(watch.bets.evidence)
            if watch.performance is not None:
                self._gauges["accuracy"].labels(*key).set(watch.performance.accuracy)
