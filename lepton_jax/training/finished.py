"""A run that is finished and is given again: the record says so, before data are read."""

from dataclasses import dataclass

from etils import epath

from lepton_jax.config.config import Config
from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.best import BestStep, find_best
from lepton_jax.tracking.chain import text_digest
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers.views import open_views
from lepton_jax.training.checkpoint_files import find_damage, list_steps


@dataclass(frozen=True)
class FinishedRun:
    """A run that has nothing left to do."""

    record: Record
    best: BestStep | None


def find_finished(config: Config, workdir: str) -> FinishedRun | None:
    """Finds the finished run of exactly this config in `workdir`.

    Its trackers are shown what they lack. None where `train` has anything else to do: steps to
    take, a result to measure, another config to refuse, a damage to name or to mend.

    Raises:
      UserError: when its tokenizer.json is not the one that it was trained with.
    """
    if not Record.exists(workdir):
        return None
    record = Record.open(workdir, writes=False)
    try:
        steps = list_steps(workdir)
        status = record.status()
        early = bool(status.get("reason"))  # of how many steps, the data have to say
        if status.get("state") != "finished" or early or not steps:
            return None
        text = config.to_json()
        if record.config_text() != text or record.starts()[-1].get("config") != text_digest(text):
            return None
        record.tokenizer_text()  # refuses another tokenizer
        best = find_best(config.best, record.rows(), steps)
        if record.measured_step() != (best.step if best else status["step"]):
            return None
    except WorkError:
        return None
    newest = epath.Path(files.join_path(workdir, "checkpoints", str(steps[-1])))
    if steps[-1] != status["step"] or find_damage(newest):
        return None
    with claim(workdir):
        open_views(config, record).close()
    return FinishedRun(record, best)
