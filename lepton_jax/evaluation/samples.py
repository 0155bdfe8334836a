"""Images of fixed seeds, of a model that generates: what it has learned, at a glance."""

from typing import Any

import numpy as np

from lepton_jax.evaluation.evaluator import Placed
from lepton_jax.training.state import State

SAMPLES = 64


def generate_samples(layout: Placed, state: State) -> np.ndarray | None:
    """Images uint8 [N, H, W, C] of the seeds 0 to N - 1; None of a task that makes none of seeds.

    Every process of a run must ask, and every process gets all of them.
    """
    program, place = layout.program, layout.placement
    if program.task_input_fields != ("seed",):
        return None

    def answer(state: State, batch: Any) -> Any:
        return program.predict(*program.variables(state), batch)

    compiled, size = place.compile_sums(answer), program.config.batch_size
    rows, found = place.rows(size), []
    for start in range(0, SAMPLES, size):
        seeds = (start + rows).astype(np.uint32)
        outputs = compiled(state, place.put_rows({"seed": seeds}, rows, size))
        if "image" not in outputs:
            return None
        found.append(np.asarray(outputs["image"]))
    return np.concatenate(found)[:SAMPLES]
