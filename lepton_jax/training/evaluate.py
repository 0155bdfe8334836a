"""Measures a checkpoint of a record on one split, and records what came out."""

from typing import Any, NamedTuple

from lepton_jax.config.user_code import keeping_tracebacks
from lepton_jax.evaluation.alignment import align_examples
from lepton_jax.evaluation.samples import generate_samples
from lepton_jax.plots.record import draw_record
from lepton_jax.tracking.claim import claim
from lepton_jax.training import saved
from lepton_jax.training.build import build_evaluations
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.load_data import name_worst
from lepton_jax.training.runtime import runtime


class MeasuredCheckpoint(NamedTuple):
    """A checkpoint on one split: its step, its results, and the names of the pictures of them."""

    step: int
    results: dict[str, Any]
    pictures: list[str]


def evaluate_checkpoint(workdir: str, split: str, checkpoint: str) -> MeasuredCheckpoint:
    """Measures a checkpoint, writes the results into the record and draws the record's pictures.

    Returns:
      What was measured and drawn. `results.json` notes the step beside the results.

    Raises:
      UserError: when there is no record, checkpoint or split of that name.
    """
    config = saved.read_config(workdir)
    with claim(workdir), runtime(config.precision), keeping_tracebacks(workdir):
        run = saved.load_run(workdir, checkpoint)
        program, placement = run.program, single_device_layout(run.program).placement
        results = build_evaluations(program, placement, run.data).split(run.state, split)
        results = name_worst(run.data, config, split, results)
        run.record.write_results(split, {**results, "step": run.step})
        images = generate_samples(program, placement, run.state)
        alignments = align_examples(program, placement, run.state, run.data.splits.get(split))
        answer = program.inference.answer
        pictures = draw_record(run.record, run.data, images, alignments, answer, split)
        return MeasuredCheckpoint(run.step, dict(results), pictures)
