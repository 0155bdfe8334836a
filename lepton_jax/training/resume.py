"""Whether the record in a workdir is of the run that is to go on there."""

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.config.config import Config, list_differences
from lepton_jax.config.unmeasured import not_measured
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.formats import count_things
from lepton_jax.tracking.experiment_folder import refuse_experiment
from lepton_jax.tracking.provenance import say_placement
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
      UserError: when it holds a run of another config, or an experiment.
    """
    if not Record.exists(workdir):
        refuse_experiment(workdir)
    else:
        record = Record.open(workdir)
        if not _is_failed_start(record, config):
            check_same_config(record, config, longer)


def check_same_config(record: Record, config: Config, longer: bool) -> None:
    """Checks that a record is of a run of `config`; `longer`: but for where it ends.

    Raises:
      UserError: naming the computing keys that differ.
    """
    workdir, before = record.workdir, read_config(record.workdir)
    changed = list_differences(before, config)
    if before.best.metric != config.best.metric:
        _check_metric(record, before, config, changed)
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


def _check_metric(record: Record, before: Config, config: Config, changed: Sequence[str]) -> None:
    """Checks a `best.metric` by what the run has measured, where the other config measures the
    same.

    Raises:
      UserError: naming the metrics that were measured.
    """
    if any(c.startswith(("model.", "task.", "data.")) for c in changed):
        return
    if (before.metrics, before.evals) != (config.metrics, config.evals):
        return
    named = {name for row in record.rows(before.best.metric) for name in row if "/" in name}
    names = sorted(name for name in named if not name.startswith("train/"))
    if names and config.best.metric not in names:
        raise not_measured(config.best.metric, names)


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
    reached = max(list_steps(workdir), default=0)
    took_steps = [start for start in record.starts() if start.get("step", 0) < reached]
    if took_steps and (moved := _describe_move(took_steps[-1], facts)):
        drift = (
            "numbers are equal to about 1e-10"
            if config.precision == "float64"
            else f"in {config.precision} numbers differ in the last digits and drift apart"
        )
        say(f"note: {moved}. Sums are taken in another order: {drift}")


def _describe_move(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Says on what a run computed so far and computes from here, given both starts.

    '' where that is the same, or where a record of an earlier version does not say.
    """
    before, here = was.get("placement"), now.get("placement")
    if before and here and before != here:
        return f"so far this run used {say_placement(before)}; from here {say_placement(here)}"
    kinds = [(start.get("devices") or {}).get("kind") for start in (was, now)]
    if all(kinds) and kinds[0] != kinds[1]:
        return f"so far this run used devices of kind {kinds[0]}; from here {kinds[1]}"
    cpus = [start.get("visible_cpus", 0) for start in (was, now)]
    if (now.get("devices") or {}).get("platform") == "cpu" and all(cpus) and cpus[0] != cpus[1]:
        return f"so far this run had {count_things(cpus[0], 'CPU core')}; from here {cpus[1]:,}"
    return ""
