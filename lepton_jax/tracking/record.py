"""The record: what a workdir holds of a run, and the only code that writes it.

    config.json       the validated config, every default written out
    tokenizer.json    what makes tokens of texts, where the data has texts
    provenance.json   what ran, where and from which code; one more entry a restart
    metrics.jsonl     what was computed: {"step": 50, "train/loss": 0.4}, a line each
    timings.jsonl     what was measured of the machine, in the same form
    states.jsonl      digests of the states that were saved (state_chain.py)
    results.json      evaluations by split: {"test": {"accuracy": 0.98}}
    status.json       how the run ended; absent while it runs, and after a kill
    tags.json         words of the user's (tracking/tags.py), on which nothing depends

metrics.jsonl is a pure function of what was logged. So a run that was killed, rewound to its
checkpoint and continued leaves the same bytes as one that was left alone (chain.py).

Floats are written by `repr`: the shortest decimal that reads back to the same float64. NaN and the
infinities, which JSON lacks, are the strings 'nan', 'inf' and '-inf'; `rows` reads them as floats.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from lepton_jax.config.config import Config
from lepton_jax.config.user_code import TRACEBACK
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.tracking.chain import Basis, Row, text_digest
from lepton_jax.tracking.experiment_folder import no_record_error, refuse_experiment
from lepton_jax.tracking.rows import RowFile
from lepton_jax.tracking.seldom import SeldomWriter

NEEDED = ("config.json", "provenance.json")
"""The files without which a folder holds no record."""
LEFT_BY_FAILED_START = ("status.json", TRACEBACK, "mlflow.json", "wandb.json")
"""What a run that failed before it recorded anything may leave to the next one in its workdir."""

End = Literal["finished", "stopped", "pruned", "failed"]


class Record:
    """The record in one workdir, which may be a folder or a `gs://` prefix.

    Files are written whole. `log` and `time` only add to memory; `flush` writes. One process
    owns a workdir while it writes (see `claim`); any number may read.
    """

    def __init__(self, workdir: Path, writes: bool = True):
        """Touches no file; use `create` or `open`."""
        self.workdir = str(workdir)
        self._writes = writes
        self._metrics = RowFile(self.path("metrics.jsonl"))
        self._timings = RowFile(self.path("timings.jsonl"), measured=True)
        self._checked = False
        """Whether the rows are known to be those that the run ended with."""
        self._writer = SeldomWriter(self._write)

    @classmethod
    def create(
        cls, workdir: Path, config_json: str, provenance: Mapping[str, Any], tokenizer: str = ""
    ) -> "Record":
        """Starts a record, making the folder. `tokenizer`: the text of a tokenizer.json.

        Raises:
          UserError: when the workdir holds a record or an experiment, or cannot be written.
        """
        record = cls(workdir)
        if cls.exists(workdir):
            raise UserError(f"{record.workdir} holds the record of a run already")
        refuse_experiment(record.workdir)
        steps = record.path("checkpoints")
        if files.is_dir(steps) and any(name.isdigit() for name in files.list_folder(steps)):
            raise UserError(
                f"{steps} is of a run whose config.json or provenance.json is gone: put that "
                "back, or choose another --workdir"
            )
        files.make_dir(workdir)
        for name in LEFT_BY_FAILED_START:
            files.remove(record.path(name))
        # config.json comes last: a folder without it was killed before there was a record.
        facts = files.replace_non_finite({**provenance, "config": text_digest(config_json)})
        if tokenizer:
            files.write_text(record.path("tokenizer.json"), tokenizer)
            facts["tokenizer"] = text_digest(tokenizer)
        files.write_json(record.path("provenance.json"), facts)
        files.write_text(record.path("config.json"), config_json)
        return record

    @classmethod
    def open(cls, workdir: Path, *, writes: bool = True) -> "Record":
        """Opens the record of an earlier run.

        Of the processes of a run only the first `writes`; the others keep what they log in memory
        and leave the files alone. A file is read when it is first asked for.

        Raises:
          UserError: when there is none.
        """
        if gone := _missing_files(workdir):
            raise no_record_error(str(workdir), gone)
        return cls(workdir, writes)

    @staticmethod
    def exists(workdir: Path) -> bool:
        """Tells whether there is a record in `workdir`."""
        return not _missing_files(workdir)

    def path(self, *names: str) -> str:
        """Returns the path of a file in the workdir."""
        return files.join_path(self.workdir, *names)

    def config_text(self) -> str:
        """Reads the text of config.json."""
        return files.read_text(self.path("config.json"))

    def config(self) -> dict[str, Any]:
        """Reads config.json. Raises `WorkError` when it is damaged."""
        return files.read_object(self.path("config.json"))

    def tokenizer_text(self) -> str:
        """Reads the text of tokenizer.json; '' where there is none.

        Raises:
          UserError: when it is not the one that the run was trained with.
        """
        path = self.path("tokenizer.json")
        kept = self.provenance().get("tokenizer")
        text = files.read_text(path) if files.exists(path) else ""
        if kept is not None and text_digest(text) != kept:
            raise UserError(
                f"{path} is not the tokenizer that this run was trained with: its tokens "
                "differ from those of the checkpoints. Put the first file back"
            )
        return text

    def provenance(self) -> dict[str, Any]:
        """Reads what `create` was given; `restarts` lists what `resume` was given, oldest first."""
        return files.read_object(
            self.path("provenance.json"), restarts=list[dict] | None, code=dict | None
        )

    def starts(self) -> list[dict[str, Any]]:
        """Reads what `create` and each `resume` was given, and the digest of its `config`."""
        provenance = self.provenance()
        return [provenance, *(provenance.get("restarts") or [])]

    def results(self) -> dict[str, Any]:
        """Reads `{split: {metric: value}}`; empty when nothing has been evaluated."""
        cure = "`evaluate` and `train` measure again"
        results = self._optional("results.json", cure, each=dict)
        digest = results.pop("digest", None)
        if digest is not None and digest != _digest_of(results):
            path = self.path("results.json")
            raise WorkError(f"{path} is damaged: it is not what was measured. {cure}")
        return results

    def measured_step(self) -> int | None:
        """Returns the step whose results the record holds; None when they are absent or damaged."""
        try:
            return self.results().get("checkpoint", {}).get("step")
        except WorkError:
            return None

    def status(self) -> dict[str, Any]:
        """Reads how a run that ended by itself did, else `{}`.

        `{"state", "step", "reason", "time", "rows", "digest"}`: the last two are a link of the
        chain.
        """
        cure = "Remove it: the run then counts as killed, and goes on from its checkpoint"
        return self._optional("status.json", cure, state=End, step=int, rows=int | None)

    def rows(self, holding: str = "") -> list[Row]:
        """Returns what was logged, in order, or of that only the rows that hold a metric.

        Raises:
          WorkError: when they are not those that the run ended with, or a line is damaged.
        """
        if not self._checked:
            end = self.status()
            same = "rows" not in end or self._metrics.digest() == (end["rows"], end.get("digest"))
            if not same and self.status() == end:  # else a process goes on with it at this moment
                raise self._changed(f"is not what it was when the run ended ({end['state']})")
            self._checked = True
        return self._metrics.rows(holding)

    def has_rows(self) -> bool:
        """Tells whether anything was logged, damaged or not."""
        return bool(self._metrics.lines or self._timings.lines)

    def timings(self) -> list[Row]:
        """Returns what was measured of the machine, in order."""
        return self._timings.rows()

    def basis(self, step: int, config: Config) -> Basis:
        """Returns what a checkpoint of `step` stands on: `config` and the rows up to it."""
        return self._metrics.basis(step, config.to_dict())

    def check(self, basis: Basis) -> None:
        """Checks that the record holds the rows that a checkpoint stands on.

        Raises:
          WorkError: saying which row differs, and what to do.
        """
        if damage := self._metrics.damage(basis):
            raise self._changed(damage)
        self._checked = True

    def resume(
        self, step: int, config_json: str, provenance: Mapping[str, Any], basis: Basis | None = None
    ) -> None:
        """Notes a restart from `step`: rewinds, and writes the new config and provenance.

        Rows that differ from those that the checkpoint of `step` stands on (`basis`) are put back
        from there, which is said.

        Raises:
          UserError, WorkError: as `files.write_bytes`; or when a row up to `step` is damaged and
            there is no `basis`.
        """
        if self._writes:
            files.remove(self.path("status.json"))  # first, as it vouches for the rows
        self._checked = True
        if step == 0:
            self._metrics.clear()
        elif basis is not None and (damage := self._metrics.mend(basis)) and self._writes:
            say(f"{self.path('metrics.jsonl')} {damage}: put right")
        self.rewind(step)
        if not self._writes:
            return
        first = self.provenance()
        restart = {"step": step, **provenance, "config": text_digest(config_json)}
        restarts = [*first.get("restarts", []), files.replace_non_finite(restart)]
        files.write_json(self.path("provenance.json"), {**first, "restarts": restarts})
        files.write_text(self.path("config.json"), config_json)

    def discard(self) -> None:
        """Frees the workdir for another run: without config.json there is no record."""
        files.remove(self.path("config.json"))

    def rewind(self, step: int) -> None:
        """Drops what was logged of steps after `step`, on disk too."""
        self._writer.wait()
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
        self._writer.now() if force else self._writer.when_due()

    def write_results(self, split: str, results: Mapping[str, Any]) -> None:
        """Replaces the results of one split; those of the others stay."""
        if not self._writes:
            return
        try:
            before = self.results()
        except WorkError as e:
            say(str(e))
            before = {}
        merged = {**before, split: files.replace_non_finite(dict(results))}
        files.write_json(self.path("results.json"), {**merged, "digest": _digest_of(merged)})

    def end(self, state: End, step: int, reason: str = "") -> None:
        """Notes how the run ended. A run that is killed ends without this, and is called lost."""
        if not self._writes:
            return
        self.flush()
        status = {"state": state, "step": step, "reason": reason, "time": utc_timestamp(zone="Z")}
        rows, digest = self._metrics.digest()
        files.write_json(self.path("status.json"), {**status, "rows": rows, "digest": digest})

    def close(self) -> None:
        """Flushes, and ends the thread. The record stays readable."""
        try:
            self.flush()
        finally:
            self._writer.close()

    def _write(self) -> None:
        self._metrics.write()
        self._timings.write()

    def _optional(self, name: str, cure: str, **form: Any) -> dict[str, Any]:
        path = self.path(name)
        return files.read_object(path, cure=cure, **form) if files.exists(path) else {}

    def _changed(self, how: str) -> WorkError:
        return WorkError(
            f"{self.path('metrics.jsonl')} {how}. Put the file back, or let the checkpoint do it: "
            + format_command("train", config=self.path("config.json"), workdir=self.workdir)
        )


def _missing_files(workdir: Path) -> list[str]:
    """Lists the files of `NEEDED` that a folder lacks."""
    return [name for name in NEEDED if not files.exists(files.join_path(workdir, name))]


def _digest_of(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns what results.json says of itself beside its splits."""
    return {"sha256": text_digest(json.dumps(results, sort_keys=True))}
