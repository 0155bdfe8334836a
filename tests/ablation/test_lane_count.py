"""How many lanes a pack gets is measured, and what does not fit is not taken."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.ablation import Experiment, Variant
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.ablation.run import lane_count
from lepton_jax.ablation.run.feasibility import build_trial
from lepton_jax.ablation.run.lanes import Lanes
from lepton_jax.config.config import Config

MLP = {
    "model.name": "mlp", "model.features": (16,), "ema": 0.0, "data.augment": "",
    "train_for": "1_000_000 steps",
}  # fmt: skip


class Huge(Lanes):
    """Lanes whose states ask for more than any machine has."""

    def fresh(self, configs: Sequence[Config]) -> Any:
        return {**super().fresh(configs), "more": jnp.zeros(2**50, jnp.int8)}


def test_lanes_that_do_not_fit_leave_those_that_do():
    experiment = Experiment(
        question="?", config="configs/digits_cnn.py", variants=[Variant("base")],
        seeds=range(16), changes=MLP,
    )  # fmt: skip
    trials = expand_trials(experiment)
    with build_trial(trials[0], "accuracy") as prepared:
        train, device = prepared.data.splits["train"], jax.local_devices()[:1]

        def lanes(count: int) -> Lanes:
            kind = Huge if count == 16 else Lanes
            return kind(prepared.program, train, device, count)

        chosen, measured = lane_count.choose_lanes(lanes, [t.config for t in trials])
    assert list(measured) == [1, 8]
    assert chosen.placement.width == min(measured, key=measured.__getitem__)
