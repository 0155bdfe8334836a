"""Whether the record in a workdir is of the run that is to go on there."""

from typing import Any

from lepton_jax.config.config import Config, list_differences
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import list_steps
from lepton_jax.training.recorded_config import read_config


def free_workdir(workdir: str, config: Config, longer: bool) -> bool:
    """Frees a workdir in which a run of another config failed before it recorded anything.

    The mistake is most often in that config, and the corrected one may use the workdir. Returns
    whether there was such a run.

    Raises:
      UserError: as `check_workdir`, before data is read and a program is built for nothing.
    """
    is_free = Record.exists(workdir) and _is_failed_start(Record.open(workdir), config)
    if is_free:
        Record.open(workdir).discard()
    check_workdir(workdir, config, longer)
    return is_free


def _is_failed_start(record: Record, config: Config) -> bool:
    """Tells whether a run of another config than `config` failed before it recorded anything."""
    if record.config_text() == config.to_json() or record.status().get("state") != "failed":
        return False
    return not (record.has_rows() or list_steps(record.workdir))


def check_workdir(workdir: str, config: Config, longer: bool) -> None:
    """Checks, without a change to it, that a run of `config` may begin or go on in `workdir`.

    Raises:
      UserError: when it holds a run of another config.
    """
    if Record.exists(workdir):
        record = Record.open(workdir)
        if not _is_failed_start(record, config):
            check_same_config(record, config, longer)


def check_same_config(record: Record, config: Config, longer: bool) -> None:
    """Checks that a record is of a run of `config`; `longer`: but for where it ends.

    Raises:
      UserError: naming the computing keys that differ.
    """
    workdir = record.workdir
    changed = list_differences(read_config(workdir), config)
    length = [c for c in changed if c.startswith(("train_for:", "early_stopping."))]
    refused = [c for c in changed if not (longer and c in length)]
    if refused:
        hint, flag = (
            "--fresh trains in a new folder beside it, or choose another --workdir",
            "fresh",
        )
        if refused == length:
            hint = "to go on for longer, add --longer; for a shorter run --fresh takes a new folder"
            flag = "longer"
        given = f"--workdir={workdir}"
        raise UserError(
            "\n  ".join([f"{workdir} holds a run of another config; {hint}:", *refused]),
            instead=(given, given, f"--{flag}"),
        )
    if record.status().get("state") == "finished" and not list_steps(workdir):
        raise UserError(
            f"the run in {workdir} is finished, and its checkpoints are gone: nothing can go on "
            "from there. Choose another --workdir; to train it again, remove its status.json"
        )


def check_same_run(record: Record, config: Config, facts: dict[str, Any], longer: bool) -> None:
    """Checks that a record is of the run that is to go on, and warns of what changes its bits.

    Raises:
      UserError: when the config or the data would make it another run.
    """
    check_same_config(record, config, longer)
    workdir, before = record.workdir, record.provenance()
    if before.get("data_fingerprint") != facts["data_fingerprint"]:
        raise UserError(
            f"the data has changed since the run in {workdir} began: put it back, or train on "
            "the new data in another --workdir\n"
            f"--config.init_from={workdir} begins there with the weights of this run"
        )
    for key in ("code", "harness_code", "components"):
        if before.get(key) != facts.get(key):
            say("warning: the code has changed since this run began: provenance.json holds both")
            break
    for key, meaning in (("visible_cpus", "CPUs"), ("devices", "devices")):
        if before.get(key) != facts.get(key):
            say(
                f"warning: this run began on other {meaning} ({before.get(key)} -> "
                f"{facts.get(key)}): the run goes on, but its numbers will not be equal to the "
                "bit"
            )
