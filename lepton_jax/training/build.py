"""Everything that a run needs before its first step, and every mistake that shows before it."""

from dataclasses import dataclass

from lepton_jax.config.config import Config
from lepton_jax.data.dataset import Dataset
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.tracking.record import Record
from lepton_jax.training import saved
from lepton_jax.training.layout import Layout, layout
from lepton_jax.training.program import Program


@dataclass(frozen=True)
class Prepared:
    """A config with its data, built and placed; nothing of it is on a disk or has taken a step."""

    data: Dataset
    program: Program
    layout: Layout
    evaluations: Evaluations


def prepare(config: Config, workdir: str = "") -> Prepared:
    """Loads the data, builds the program, places it on the devices of all processes.

    `workdir`: of the run, whose own tokenizer is used where it has one.

    Raises:
      UserError: for data, parts, metrics or a strategy that do not fit each other.
    """
    kept = Record.open(workdir).tokenizer_text() if workdir and Record.exists(workdir) else ""
    data = saved.load_data(config, tokenizer=kept)
    program = saved.program_of(config, data)
    placed = layout(program)
    _ = placed.specs  # so that rules which do not fit show now
    evaluations = Evaluations(placed, data)
    evaluations.check_best()
    _ = program.task_input_fields, program.answer  # so that a task which has none is told now
    _ = evaluations.at_end  # so that a metric of the end that cannot be made shows now
    return Prepared(data, program, placed, evaluations)
