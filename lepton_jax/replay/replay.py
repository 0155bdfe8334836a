"""Replays a run: draws spans of it, computes them again and compares them with its record."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from lepton_jax.config.config import Config, find_user_modules
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.replay.conditions import list_changes
from lepton_jax.replay.inspect_record import RecordAsFound, check_tokenizer
from lepton_jax.replay.judge import judge_span
from lepton_jax.replay.legs import starts_of_span
from lepton_jax.replay.parting import links_by_step
from lepton_jax.replay.replayer import Replayer
from lepton_jax.replay.spans import Span, choose_spans, draw_spans, list_spans
from lepton_jax.replay.verdict import Discrepancy, ReplayedSpan, ReplayVerdict
from lepton_jax.tracking.provenance import collect_provenance, digest_modules
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state_digests import digest_array

Numbers = dict[int, dict[str, float]]

SAME_ALL_THE_SAME = (
    ". All that was computed is the same to the bit: is it a copy whose files have other times "
    "(`cp -p` keeps them)?"
)


def replay_run(
    workdir: str,
    *,
    spans: int = 3,
    seed: int | None = None,
    steps: str = "",
    replayers: dict[str, Replayer] | None = None,
) -> ReplayVerdict:
    """Computes drawn spans of a run again and compares them with its record; writes nothing.

    Main arguments:
      spans: how many are drawn; two may be the same one.
      seed: what they are drawn by; None: chance, as a seed that is known beforehand says where a
        record may be false.
      steps: '0:1500' takes the spans of these steps, all of them, and draws none.
    Other arguments:
      replayers: keeps the programs, for several replays of runs of one config on the same data.

    Raises:
      UserError: when there is no record, no checkpoint, or the data is not at hand.
    """
    seed = secrets.randbelow(2**31) if seed is None else seed
    return _Replay(workdir, {} if replayers is None else replayers).judge(spans, seed, steps)


class _Replay:
    """One replay of one record."""

    def __init__(self, workdir: str, replayers: dict[str, Replayer]):
        self._workdir, self._replayers = workdir, replayers
        self._found = RecordAsFound(workdir)
        self._numbers = self._found.numbers()
        self._links = links_by_step(self._found.links)
        self._elsewhere: list[str] = []
        self._checkpoints = Checkpoints(workdir)
        self._loaded: set[int] = set()

    def judge(self, count: int, seed: int, steps: str) -> ReplayVerdict:
        found = self._found
        every = list_spans(found.kept)
        if not every and not found.findings:
            raise UserError(
                f"{self._workdir} has no checkpoint, so there is nothing to compare with: "
                "--config.checkpoint_every says how often `train` saves one"
            )
        if steps:
            drawn = choose_spans(every, steps)
        else:
            drawn = draw_spans(every, count, seed) if every else []
        replayed: list[ReplayedSpan] = []
        if wrong := check_tokenizer(found.record):
            found.findings.append(wrong)
        elif drawn:
            with runtime(found.config.precision):
                data = self._check_data(found.config_of(drawn[0].end))
                if data:
                    drawn = sorted({every[0], *drawn})  # it shows from which step on
                for span in drawn:
                    say(f"computing {span} again")
                    replayed.append(self._replay(span))
                if data and all(span.equal for span in replayed):
                    data = replace(data, text=data.text + SAME_ALL_THE_SAME)
                found.findings += [data] if data else []
        findings = [*found.findings, *(f for s in replayed for f in s.findings)]
        elsewhere = tuple(dict.fromkeys(self._elsewhere))
        return ReplayVerdict(
            self._workdir, seed, len(every), tuple(replayed), elsewhere, tuple(findings),
            tuple(self._notes(every)), 0 if steps else count, steps,
        )  # fmt: skip

    def _replayer(self, config: Config) -> Replayer:
        key = config.to_json()
        if key not in self._replayers:
            self._replayers[key] = Replayer(self._found.record, config)
        return self._replayers[key]

    def _check_data(self, config: Config) -> Discrepancy | None:
        """Finds whether the data is another than the run had."""
        was = self._found.record.provenance().get("data_fingerprint")
        now = self._replayer(config).data.fingerprint
        if was == now:
            return None
        text = f"is not that of the run: its fingerprint is {now[:12]}, and was {str(was)[:12]}"
        return Discrepancy("data", text)

    def _load(self, step: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a checkpoint, compared with their digests the first time."""
        arrays = self._checkpoints.arrays(step, "state.")
        if step not in self._loaded:
            self._loaded.add(step)
            digests = {name: digest_array(x) for name, x in arrays.items()}
            self._found.check_arrays(step, digests)
        return arrays

    @cached_property
    def _here(self) -> dict[str, Any]:
        """The provenance of this process, whose components are imported."""
        modules = find_user_modules(self._found.config)
        return {**collect_provenance([]), "components": digest_modules(modules)}

    def _replay(self, span: Span) -> ReplayedSpan:
        if span.start and span.start not in self._loaded:
            self._load(span.start)
        starts = self._found.starts()
        replayer = self._replayer(self._found.config_of(span.end))
        links = {s: x for s, x in self._links.items() if span.start < s <= span.end}
        recorded = {s: dict(x) for s, x in self._numbers.items() if span.start < s <= span.end}
        restarts = [s["step"] for s in starts if span.start < s["step"] < span.end]
        cuts = [s for s in restarts if has_training(recorded.get(s, {})) and not replayer.logs(s)]
        try:
            computed = replayer.compute(self._workdir, span, sorted(links), cuts, starts)
        except UserError as e:
            if span.start:
                raise
            return ReplayedSpan(span, False, (), 0, 0, skipped=str(e))  # no weights of `init_from`
        _drop_what_only_an_end_gives(replayer, span.end, recorded, computed.numbers)
        logged = has_training(self._numbers.get(span.start, {}))
        if computed.began_without_sums and not logged and not replayer.logs(span.start):
            _drop_first_interval(recorded, computed.numbers)
        changes = []
        for start in starts_of_span(starts, span):
            placed = replayer.place(start.get("placement"))
            here = {**self._here, "placement": placed.layout.placement.as_json()}
            changes += [*list_changes(start, here), *filter(None, [placed.lacks])]
        if any("lanes" in row for row in self._found.record.timings()):
            changes.append("the run was computed in lanes, together with others")
        self._elsewhere += changes
        kept = self._load(span.end)
        judged = judge_span(span, recorded, links, kept, computed, exact=not changes)
        if judged.findings and len(_configs_within(starts, span)) > 1:  # `--longer`, `--stretch`
            reason = "its config was changed within it, where no checkpoint is left"
            return ReplayedSpan(span, False, (), 0, 0, skipped=reason)
        return judged

    def _notes(self, every: Sequence[Span]) -> list[str]:
        """Says what of the record nothing here can prove."""
        notes = []
        last = every[-1].end if every else 0
        if later := [step for step in self._numbers if step > last]:
            notes.append(f"rows after step {last:,} ({len(later):,}) stand on no checkpoint")
        if every and not self._found.links:
            notes.append("the record has no states.jsonl: checkpoints and rows alone are compared")
        return notes


def has_training(row: Mapping[str, float]) -> bool:
    """Tells whether a row has numbers of training."""
    return any(name.startswith("train/") for name in row)


def _configs_within(starts: Sequence[Mapping[str, Any]], span: Span) -> set[Any]:
    """Returns the digests of the configs with which a span was computed."""
    used = starts_of_span(starts, span)
    return {s.get("config") or s.get("fingerprint") for s in used}


def _drop_what_only_an_end_gives(
    replayer: Replayer, end: int, recorded: Numbers, computed: Numbers
) -> None:
    """Drops rows that are computed since the span ends there, where the run went on."""
    row, was = computed.get(end, {}), recorded.get(end, {})
    for name in list(row):
        due = replayer.logs(end) if name.startswith("train/") else replayer.evaluates(end)
        if name not in was and not due:
            del row[name]


def _drop_first_interval(recorded: Numbers, computed: Numbers) -> None:
    """Drops the first row of training: a checkpoint without sums does not give its first part."""
    first = min((s for s, row in computed.items() if has_training(row)), default=None)
    for rows in (recorded, computed):
        if first in rows:
            rows[first] = {k: v for k, v in rows[first].items() if not k.startswith("train/")}
