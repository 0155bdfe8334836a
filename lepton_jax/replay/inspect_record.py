"""What a record says of itself: its chains, its digests and its files, before anything is computed.

What was changed after it was written is found and named here. What was written false from the
beginning is found by computing it again (`replayer.py`).
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from etils import epath

from lepton_jax.config.config import Config, list_differences
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.replay.verdict import Discrepancy
from lepton_jax.tracking.chain import Basis, Chain, parse_row, split_lines
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.state_chain import (
    StateFile,
    StateLink,
    find_broken_link,
    shorten_digests,
)
from lepton_jax.training.checkpoint_files import find_damage, list_steps, read_basis


class RecordAsFound:
    """A record with everything that it says of its steps, and what is wrong with that.

    Nothing here raises for a damaged record: it becomes a finding.
    """

    def __init__(self, workdir: str):
        self.record = Record.open(workdir, writes=False)
        self.findings: list[Discrepancy] = []
        self.lines = self._read_lines()
        self.links = self._read_links()
        folder = epath.Path(self.record.path("checkpoints"))
        self.kept: list[int] = []
        """The steps of the checkpoints whose files are those that were written."""
        self.bases: dict[int, Basis] = {}
        for step in list_steps(workdir):
            if damage := find_damage(folder / str(step)):
                self.findings.append(
                    Discrepancy(f"checkpoint {step}", f"is changed: {damage}", step)
                )
                continue
            self.kept.append(step)
            if basis := read_basis(folder, step):
                self.bases[step] = basis
        self._check_rows()
        self.config = self._check_config()

    def numbers(self) -> dict[int, dict[str, float]]:
        """Returns the numbers of metrics.jsonl by step; a line that is no row is left out."""
        found: dict[int, dict[str, float]] = {}
        for line in self.lines:
            if row := parse_row(line):
                found.setdefault(int(row.pop("step")), {}).update(row)
        return found

    def config_of(self, end: int) -> Config:
        """Returns the config with which the run went up to the checkpoint of step `end`."""
        if basis := self.bases.get(end):
            return validate_config(basis.config, f"checkpoint {end}")
        return self.config

    def starts(self) -> list[dict[str, Any]]:
        """Returns what provenance.json says of the start and of each restart, with its `step`."""
        first, *restarts = self.record.starts()
        return [{**first, "step": 0}, *restarts]

    def check_arrays(self, step: int, digests: Mapping[str, str]) -> None:
        """Compares the arrays of a checkpoint, by their whole digests, with states.jsonl."""
        link = next((link for link in self.links if link.step == step), None)
        if link is None:
            return
        shown = shorten_digests(digests)
        wrong = [n for n in sorted({*shown, *link.leaves}) if shown.get(n) != link.leaves.get(n)]
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            text = f"holds other arrays than states.jsonl says: {wrong[0]}{more}"
            self._find(f"checkpoint {step}", text, step)

    def _find(self, what: str, text: str, step: int | None = None) -> None:
        self.findings.append(Discrepancy(what, text, step))

    def _read_lines(self) -> list[bytes]:
        path = self.record.path("metrics.jsonl")
        return split_lines(files.read_bytes(path)) if files.exists(path) else []

    def _read_links(self) -> list[StateLink]:
        try:
            links = StateFile(self.record.workdir).links()
        except WorkError as e:
            self._find("states.jsonl", f"cannot be read: {e}")
            return []
        if broken := find_broken_link(links):
            text = "is changed: a line does not follow from the lines before it"
            self._find("states.jsonl", text, broken.step)
        return links

    def _check_rows(self) -> None:
        """Finds the first row that is not one that a checkpoint, a digest or the end stands on."""
        for step in sorted(self.bases):
            basis = self.bases[step]
            if damage := basis.damage(self.lines):
                first = _first_different(basis.lines, self.lines)
                self._find("metrics.jsonl", damage, first)
                return
        before, chain = 0, Chain()
        for link in self.links:
            cut = len(self.lines) < link.rows
            if cut or chain.digest(self.lines, link.rows) != link.metrics:
                text = (
                    f"is changed: a row of the steps after {before:,} up to {link.step:,} is not "
                    "what states.jsonl stands on"
                )
                self._find("metrics.jsonl", text, before + 1)
                return
            before = link.step
        end = self.record.status()
        count = end.get("rows", len(self.lines))
        changed = "digest" in end and Chain().digest(self.lines, count) != end["digest"]
        if changed or len(self.lines) != count:
            text = "is not what it was when the run ended"
            self._find("metrics.jsonl", text, before + 1)

    def _check_config(self) -> Config:
        """Compares config.json with what the checkpoints were computed with."""
        file = self.record.path("config.json")
        config = validate_config(self.record.config(), file)
        known = {start.get("fingerprint") for start in self.record.starts()}
        if self.bases:
            newest = self.bases[max(self.bases)]
            was = validate_config(newest.config, f"checkpoint {newest.step}")
            if edited := list_differences(was, config):
                text = f"is changed: {'; '.join(edited[:5])}"
                self._find("config.json", text, 0)
                return was
        elif known and config.fingerprint() not in known:
            self.findings.append(
                Discrepancy("config.json", "has another fingerprint than the run", 0)
            )
        return config


def _first_different(was: Sequence[bytes], now: Sequence[bytes]) -> int | None:
    """Returns the step of the first line that differs."""
    for a, b in zip_longest(was, now):
        if a != b:
            rows = [row for row in (parse_row(x) for x in (a, b) if x is not None) if row]
            return int(rows[0]["step"]) if rows else None
    return None


def check_tokenizer(record: Record) -> Discrepancy | None:
    """Finds a tokenizer.json that is not that of the run."""
    try:
        record.tokenizer_text()
    except UserError as e:
        return Discrepancy("tokenizer.json", f"is changed: {e}", 0)
    return None
