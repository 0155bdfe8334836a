"""Everything that a run needs before its first step, and every mistake that shows before it."""

from dataclasses import dataclass

from lepton_jax.config.components import Component
from lepton_jax.config.config import Config
from lepton_jax.data import dataset
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.source import Source
from lepton_jax.errors import UserError
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.tracking.record import Record
from lepton_jax.training.layout import Layout, build_layout
from lepton_jax.training.program import Program


@dataclass(frozen=True)
class BuiltRun:
    """A config with its data, built and placed; nothing of it is on a disk or has taken a step."""

    data: Dataset
    program: Program
    layout: Layout
    evaluations: Evaluations


def build_run(config: Config, workdir: str = "") -> BuiltRun:
    """Loads the data, builds the program, places it on the devices of all processes.

    `workdir`: of the run, whose own tokenizer is used where it has one.

    Raises:
      UserError: for data, parts, metrics or a strategy that do not fit each other.
    """
    kept = Record.open(workdir).tokenizer_text() if workdir and Record.exists(workdir) else ""
    data = load_data(config, tokenizer=kept)
    program = build_program(config, data)
    placed = build_layout(program)
    _ = placed.specs  # so that rules which do not fit show now
    evaluations = Evaluations(placed, data)
    evaluations.check_best()
    _ = program.task_input_fields, program.answer  # so that a task which has none is told now
    _ = evaluations.at_end  # so that a metric of the end that cannot be made shows now
    return BuiltRun(data, program, placed, evaluations)


def load_data(config: Config, source: Component | None = None, tokenizer: str = "") -> Dataset:
    """The data that a config names, or another source treated in the same way.

    `tokenizer`: the text of the run's own, where it has one already.
    """
    section = config.data
    chosen = source or section.source
    made = chosen.build()
    if not isinstance(made, Source):
        kind = type(made).__name__
        raise UserError(f"source {chosen.name} returned a {kind}, expected a lepton_jax Source")
    return dataset.load(
        made,
        decode=section.decode,
        valid_fraction=section.valid_fraction,
        split_seed=section.split_seed,
        train_decode=section.train_decode,
        tokenizer=tokenizer or section.tokenizer,
        encode=section.encode,
    )


def build_program(config: Config, data: Dataset) -> Program:
    """The program of a config on its data. Raises `UserError` when there is nothing to train on."""
    if "train" not in data.splits:
        there = ", ".join(data.splits)
        raise UserError(f"source {config.data.source.name} has no split 'train', only {there}")
    return Program(config, data.spec, len(data.splits["train"]))
