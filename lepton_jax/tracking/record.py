"""The record: what a workdir holds of a run, and the only code that writes it.

    config.json       the validated config, every default written out
    tokenizer.json    what makes tokens of texts, where the data has texts
    provenance.json   what ran, where and from which code; one more entry a restart
    metrics.jsonl     what was computed: {"step": 50, "train/loss": 0.4}, a line each
    timings.jsonl     what was measured of the machine, in the same form
    results.json      evaluations by split: {"test": {"accuracy": 0.98}}
    status.json       how the run ended; absent while it runs, and after a kill

metrics.jsonl is a pure function of what was logged: no clock, no host, one serialisation. So a
run that was killed, rewound to its checkpoint and continued leaves the same bytes as one that
was left alone.

Floats are written by `repr`: the shortest decimal that reads back to the same float64. JSON has
no NaN and no infinities; they are written as the strings 'nan', 'inf' and '-inf', which `rows`
turns into floats again.
"""

import hashlib
import json
import numbers
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.io.timestamps import utc_timestamp

Row = dict[str, Any]
"""`{"step": int, name: float, ...}`"""

End = Literal["finished", "stopped", "pruned", "failed"]

_SHARE = 0.02
"""Of the wall time, at most, that rewriting files may take when nobody waits for it."""
_SHORTEST = 1.0
"""Seconds, at least, between two such rewrites."""


class Record:
    """The record in one workdir, which may be a folder or a `gs://` prefix.

    Files are written whole. `log` and `time` only add to memory; `flush` writes. One process
    owns a workdir while it writes (see `claim`); any number may read.
    """

    def __init__(self, workdir: Path, writes: bool = True):
        """Use `create` or `open`."""
        self.workdir = str(workdir)
        self._writes = writes
        self._metrics = _Lines(self.path("metrics.jsonl"))
        self._timings = _Lines(self.path("timings.jsonl"))
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._due = 0.0

    @classmethod
    def create(
        cls, workdir: Path, config_json: str, provenance: Mapping[str, Any], tokenizer: str = ""
    ) -> "Record":
        """Starts a record, making the folder. `tokenizer`: the text of a tokenizer.json.

        Raises:
          UserError: when the workdir holds a record already, or cannot be written.
        """
        record = cls(workdir)
        if cls.exists(workdir):
            raise UserError(f"{record.workdir} holds the record of a run already")
        files.make_dir(workdir)
        for name in ("status.json", "mlflow.json", "wandb.json"):  # of a run that was discarded
            files.remove(record.path(name))
        # config.json comes last: a folder without it was killed before there was a record.
        facts = files.replace_non_finite(dict(provenance))
        if tokenizer:
            files.write_text(record.path("tokenizer.json"), tokenizer)
            facts["tokenizer"] = hashlib.sha256(tokenizer.encode()).hexdigest()
        files.write_json(record.path("provenance.json"), facts)
        files.write_text(record.path("config.json"), config_json)
        return record

    @classmethod
    def open(cls, workdir: Path, *, writes: bool = True) -> "Record":
        """Opens the record of an earlier run.

        Of the processes of a run only the first `writes`; the others keep what they log in memory
        and leave the files alone.

        Raises:
          UserError: when there is none. WorkError: when a line of it is damaged.
        """
        if not cls.exists(workdir):
            raise UserError(
                f"{workdir} holds no record of a run (no config.json and provenance.json); "
                "launch.py runs DIR lists those below a folder"
            )
        record = cls(workdir, writes)
        record._metrics.read()
        record._timings.read()
        return record

    @staticmethod
    def exists(workdir: Path) -> bool:
        """Tells whether there is a record in `workdir`."""
        return all(
            files.exists(files.join_path(workdir, name))
            for name in ("config.json", "provenance.json")
        )

    def path(self, *names: str) -> str:
        """Returns the path of a file in the workdir."""
        return files.join_path(self.workdir, *names)

    def config_text(self) -> str:
        """Reads the text of config.json."""
        return files.read_text(self.path("config.json"))

    def tokenizer_text(self) -> str:
        """Reads the text of tokenizer.json; '' where there is none.

        Raises:
          UserError: when it is not the one that the run was trained with.
        """
        path = self.path("tokenizer.json")
        kept = self.provenance().get("tokenizer")
        text = files.read_text(path) if files.exists(path) else ""
        if kept is not None and hashlib.sha256(text.encode()).hexdigest() != kept:
            raise UserError(
                f"{path} is not the tokenizer that this run was trained with: its tokens "
                "differ from those of the checkpoints. Put the first file back"
            )
        return text

    def provenance(self) -> dict[str, Any]:
        """Reads what `create` was given; `restarts` lists what `resume` was given, oldest first."""
        return files.read_json(self.path("provenance.json"))

    def results(self) -> dict[str, Any]:
        """Reads `{split: {metric: value}}`; empty when nothing has been evaluated."""
        return self._optional("results.json")

    def status(self) -> dict[str, Any]:
        """Reads `{"state", "step", "reason", "time"}` of a run that ended by itself, else `{}`."""
        return self._optional("status.json")

    def rows(self) -> list[Row]:
        """Returns what was logged, in order: `{"step": 50, "train/loss": 0.4}`."""
        return self._metrics.rows()

    def timings(self) -> list[Row]:
        """Returns what was measured of the machine, in order."""
        return self._timings.rows()

    def resume(self, step: int, config_json: str, provenance: Mapping[str, Any]) -> None:
        """Notes a restart from `step`: rewinds, and writes the new config and provenance.

        Raises:
          UserError, WorkError: as `files.write_bytes`.
        """
        self.rewind(step)
        if not self._writes:
            return
        first = self.provenance()
        restart = {"step": step, **provenance}
        restarts = [*first.get("restarts", []), files.replace_non_finite(restart)]
        files.write_json(self.path("provenance.json"), {**first, "restarts": restarts})
        files.write_text(self.path("config.json"), config_json)
        files.remove(self.path("status.json"))

    def discard(self) -> None:
        """Frees the workdir for another run: without config.json there is no record."""
        files.remove(self.path("config.json"))

    def rewind(self, step: int) -> None:
        """Drops what was logged of steps after `step`, on disk too."""
        self._wait()
        self._metrics.rewind(step)
        self._timings.rewind(step)
        self.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line of computed numbers to metrics.jsonl. They must not depend on the clock."""
        self._metrics.add(step, values)

    def time(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line of measured numbers to timings.jsonl."""
        self._timings.add(step, values)

    def flush(self, *, force: bool = True) -> None:
        """Writes what was logged.

        With `force` the lines are on disk when this returns, and a kill does not lose them.
        Without it this returns at once: a thread writes, seldom enough to cost less than 2 % of
        the wall time, and the next call raises what went wrong.

        Raises:
          WorkError: when the disk is full. UserError: when the workdir is not writable.
        """
        if not self._writes:
            return
        if force:
            self._wait()
            self._write()
        elif (self._writing is None or self._writing.done()) and time.monotonic() >= self._due:
            self._wait()
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="record")
            self._writing = self._thread.submit(self._write)

    def write_results(self, split: str, results: Mapping[str, Any]) -> None:
        """Replaces the results of one split; those of the others stay."""
        if not self._writes:
            return
        merged = {**self.results(), split: files.replace_non_finite(dict(results))}
        files.write_json(self.path("results.json"), merged)

    def end(self, state: End, step: int, reason: str = "") -> None:
        """Notes how the run ended. A run that is killed ends without this, and is called lost."""
        if not self._writes:
            return
        self.flush()
        status = {"state": state, "step": step, "reason": reason, "time": utc_timestamp(zone="Z")}
        files.write_json(self.path("status.json"), status)

    def close(self) -> None:
        """Flushes, and ends the thread. The record stays readable."""
        try:
            self.flush()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _write(self) -> None:
        started = time.monotonic()
        self._metrics.write()
        self._timings.write()
        ended = time.monotonic()
        self._due = ended + max(_SHORTEST, (ended - started) / _SHARE)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _optional(self, name: str) -> dict[str, Any]:
        path = self.path(name)
        return files.read_json(path) if files.exists(path) else {}


class _Lines:
    """The lines of one .jsonl file: in memory all of them, on disk those that were written."""

    def __init__(self, path: str):
        self._path = path
        self._lines: list[bytes] = []
        self._rows: list[Row] = []
        self._written = 0

    def read(self) -> None:
        if files.exists(self._path):
            self._lines = files.read_bytes(self._path).splitlines(keepends=True)
            self._rows = [self._parsed(i, line) for i, line in enumerate(self._lines, 1)]
            self._written = len(self._lines)

    def rows(self) -> list[Row]:
        return list(self._rows)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        if "step" in values:
            raise ValueError("'step' is the name of the step itself; choose another")
        row = {"step": int(step)} | {k: _number(v) for k, v in values.items()}
        self._lines.append(
            json.dumps(files.replace_non_finite(row), allow_nan=False).encode() + b"\n"
        )
        self._rows.append(row)

    def rewind(self, step: int) -> None:
        kept = [i for i, row in enumerate(self._rows) if row["step"] <= step]
        if len(kept) < len(self._rows):
            self._lines = [self._lines[i] for i in kept]
            self._rows = [self._rows[i] for i in kept]
            self._written = -1

    def write(self) -> None:
        count = len(self._lines)  # the loop may add while this thread writes
        if count != self._written:
            files.write_bytes(self._path, b"".join(self._lines[:count]))
            self._written = count

    def _parsed(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
            return {"step": int(row.pop("step"))} | {
                k: float(v) if isinstance(v, str) else v for k, v in row.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise WorkError(f"{self._path} is damaged: line {number} is no row of numbers") from e


def _number(value: Any) -> int | float:
    return int(value) if isinstance(value, numbers.Integral) else float(value)
