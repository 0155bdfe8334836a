"""Measures a checkpoint of a record on one split, and records what came out."""

from typing import Any

from lepton_jax.evaluation.alignment import align_examples
from lepton_jax.evaluation.samples import generate_samples
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.plots.record import draw_record
from lepton_jax.tracking.claim import claim
from lepton_jax.training import saved
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.runtime import runtime


def evaluate_checkpoint(workdir: str, split: str, checkpoint: str) -> tuple[int, dict[str, Any]]:
    """Measures a checkpoint, writes the results into the record and draws the record's pictures.

    Returns:
      The checkpoint's step, and the results. `results.json` notes the step beside them.

    Raises:
      UserError: when there is no record, checkpoint or split of that name.
    """
    config = saved.read_config(workdir)
    with claim(workdir), runtime(config.precision):
        run = saved.load_run(workdir, checkpoint)
        layout = single_device_layout(run.program)
        results = Evaluations(layout, run.data).split(run.state, split)
        run.record.write_results(split, {**results, "step": run.step})
        alignments = align_examples(layout, run.state, run.data.splits.get(split))
        draw_record(run.record, run.data, generate_samples(layout, run.state), alignments, split)
        return run.step, dict(results)
