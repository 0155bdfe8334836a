"""Builds what a run needs before its first step: data, program, layout and evaluations.

Every mistake that can show before the first step shows here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from lepton_jax.config.config import Config
from lepton_jax.config.user_code import blame, keeping_tracebacks
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.naming import SPLITS, split_name
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.placement.mesh import BatchPlacement
from lepton_jax.tracking.record import Record
from lepton_jax.training.layout import Layout, build_layout
from lepton_jax.training.lines import start_lines
from lepton_jax.training.load_data import load_data
from lepton_jax.training.program import Program


@dataclass(frozen=True)
class BuiltRun:
    """A config with its data, program and devices; nothing is written and no step is taken yet."""

    data: Dataset
    program: Program
    layout: Layout
    evaluations: Evaluations


def build_run(
    config: Config,
    workdir: str = "",
    look_only: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> BuiltRun:
    """Loads the data, builds the program and places it on the devices of all processes.

    `workdir`: the run's, if it has one yet; the tokenizer in its record is used. `look_only`: as
    `load_dataset` has it, for a run that takes no step. `tell`: is told the lines of
    lines.py.

    Raises:
      UserError: for data, components, metrics or a strategy that do not fit each other, for what
        a part of the user's own raises on an abstract batch, and for a number that trials may vary
        and that the model keeps as a constant. Tracebacks are kept in `workdir`.
    """
    with keeping_tracebacks(workdir):
        try:
            return _build_run(config, workdir, look_only, tell)
        except Exception as e:  # noqa: BLE001  whatever the parts of a config raise
            blame(f"model {config.model.name} with task {config.task.name}", e)


def _build_run(
    config: Config, workdir: str, look_only: bool, tell: Callable[[str], None]
) -> BuiltRun:
    text = Record.open(workdir).tokenizer_text() if workdir and Record.exists(workdir) else ""
    data = load_data(config, tokenizer=text, look_only=look_only)
    program = build_program(config, data)
    program.training.traced.refuse_constants()
    program.training.traced.refuse_unused()
    layout = build_layout(program)
    for line in start_lines(data, layout):
        tell(line)
    evaluations = build_evaluations(program, layout.placement, data)
    # The values are not used here; their mistakes show now.
    _ = layout.specs
    evaluations.try_out(lambda: layout.fresh()["state"])
    abstract = program.training.abstract_state()
    program.inference.try_out(jax.eval_shape(program.training.variables, abstract))
    _ = program.inference.answer_name
    return BuiltRun(data, program, layout, evaluations)


def build_program(config: Config, data: Dataset) -> Program:
    """Builds the program of a config on its data.

    Raises:
      UserError: when the data has no split 'train', or the config's components do not fit it.
    """
    if "train" not in data.splits:
        there = ", ".join(data.splits)
        raise UserError(
            f"{data.description}: has no split 'train', only {there}. A split's folder, file or "
            f"array is called {' or '.join(SPLITS['train'])}. {data.account}".rstrip(". ")
        )
    try:
        return Program(config, data.spec, len(data.splits["train"]))
    except Exception as e:  # noqa: BLE001  whatever the parts of a config raise
        blame(f"model {config.model.name} with task {config.task.name}", e)


def build_evaluations(program: Program, placement: BatchPlacement, data: Dataset) -> Evaluations:
    """Builds the evaluations of a program on its data and on the data of its config's `evals`.

    Raises:
      UserError: when one of `evals` names a source or a split that does not fit.
    """
    evals = {name: _load_eval(program.config, name, data) for name in program.config.evals}
    return Evaluations(program, placement, data.splits, evals)


def _load_eval(config: Config, name: str, data: Dataset) -> Columns:
    """Loads the examples of `config.evals[name]`, from the run's own `data` by default."""
    section = config.evals[name]
    if name in data.splits or name in ("train", "valid", "test"):
        raise UserError(
            f"evals.{name}: {name!r} is the name of a split, and its results would take the "
            f"place of the split's; choose another, such as evals.{name}_again"
        )
    if section.source is not None:
        text = data.tokenizer.text if data.tokenizer else ""
        other = load_data(config, section.source, text, data.look_only)
        if other.spec != data.spec:
            raise UserError(
                f"evals.{name}.source does not fit the run's own source: "
                f"{other.spec.difference(data.spec)}"
            )
        data.account.add(other.account)
        data = other
    split = section.split if section.split in data.splits else split_name(section.split)
    if split not in data.splits:
        there = ", ".join(data.splits)
        raise UserError(
            f"evals.{name}.split = {section.split!r}: the source has {there}"
            f"{did_you_mean(section.split, data.splits)}"
        )
    return data.splits[split]
