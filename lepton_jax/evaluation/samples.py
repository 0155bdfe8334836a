"""Images of fixed seeds, of a model that generates: what it has learned, at a glance."""

from typing import Any

import numpy as np

from lepton_jax.evaluation.program import EvaluatedProgram, State
from lepton_jax.placement.mesh import BatchPlacement

SAMPLES = 64


def generate_samples(
    program: EvaluatedProgram, placement: BatchPlacement, state: State
) -> np.ndarray | None:
    """Generates images uint8 [N, H, W, C] from the seeds 0 to N - 1; None when the task takes
    anything but a seed, or makes no images.

    Every process of a run must call it, and every process gets all images.
    """
    if program.inference.input_names != ("seed",):
        return None

    def predict(state: State, batch: Any) -> Any:
        return program.inference.predict(*program.training.variables(state), batch)

    compiled, size = placement.compile_sums(predict), program.config.batch_size
    rows, images = placement.rows(size), []
    for start in range(0, SAMPLES, size):
        seeds = (start + rows).astype(np.uint32)
        outputs = compiled(state, placement.put_rows({"seed": seeds}, rows, size))
        if "image" not in outputs:
            return None
        images.append(np.asarray(outputs["image"]))
    return np.concatenate(images)[:SAMPLES]
