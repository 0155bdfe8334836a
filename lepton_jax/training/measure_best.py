"""The end of a run: `test` is measured once, with the checkpoint that is best on `valid`."""

from collections.abc import Callable, Collection

from lepton_jax.cluster.processes import Processes
from lepton_jax.console import format_command
from lepton_jax.evaluation.alignment import align_examples
from lepton_jax.evaluation.samples import generate_samples
from lepton_jax.plots.record import draw_record
from lepton_jax.tracking.best import best_step
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.load_data import name_worst
from lepton_jax.training.state import State


def measure_best(
    built: BuiltRun,
    record: Record,
    checkpoints: Checkpoints,
    processes: Processes,
    state: State,
    tell: Callable[[str], None],
    *,
    alone: bool,
) -> int:
    """Measures `test` with the best checkpoint, unless the record holds that; draws its pictures.

    `state`: the last state of the run, which stands where no checkpoint is better. `tell`: is told
    what is measured; of a trial beside others (not `alone`) only what is unexpected.

    Returns the step of the best checkpoint.
    """
    best = built.program.config.best
    rows = record.rows(best.metric)
    step = best_step(best, rows, checkpoints.steps()) or int(state.step)
    if rows and not best_step(best, rows):
        tell(f"warning: {best.metric} was never finite; step {step} stands for the best")
    measured = processes.share("read", record.measured_step)
    if measured not in (None, step):
        tell(f"results.json is of step {measured}: measuring step {step}, now the best")
    if measured != step:
        if alone and built.evaluations.at_end:
            tell(f"evaluating {' and '.join(built.evaluations.at_end)} at step {step:,}")
        if alone and "test" not in built.data.splits:
            tell(_without_test(record.workdir, built.data.splits))
        if step != int(state.step):
            state = checkpoints.restore(step, built.layout.like)["state"]
        _measure(built, record, state, step, draws=processes.first)
    return step


def _without_test(workdir: str, splits: Collection[str]) -> str:
    """Says what a run without a split 'test' lacks, and what to do."""
    fold = "--config.data.folds=5 --config.data.fold=0"
    look = format_command("evaluate", workdir=workdir, split="valid")
    return (
        "the data have no split 'test': no test numbers, no confusion.png, no mistakes.png. Try: "
        + (f"{look}, or a new run with {fold}" if "valid" in splits else f"a new run with {fold}")
    )


def _measure(built: BuiltRun, record: Record, state: State, step: int, *, draws: bool) -> None:
    program, placement = built.program, built.layout.placement
    for name, results in built.evaluations.final(state).items():
        named = name_worst(built.data, program.config, name, results)
        record.write_results(name, {**named, "step": step})
    images = generate_samples(program, placement, state)
    alignments = align_examples(program, placement, state, built.data.splits.get("test"))
    if draws:
        draw_record(record, built.data, images, alignments, program.inference.answer)
