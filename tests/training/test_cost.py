"""Model FLOPs a step, and utilization of a device whose peak is known."""

from types import SimpleNamespace
from typing import Any

import pytest

from lepton_jax.config.config import Config
from lepton_jax.config.validation import change_config, validate_config
from lepton_jax.perf.chips import CHIPS, find_chip
from lepton_jax.perf.utilization import Utilization
from lepton_jax.training import build
from lepton_jax.training.cost import model_flops, step_flops
from lepton_jax.training.load_data import load_data

DECODER: dict[str, Any] = {
    "model": {"name": "transformer", "layers": 2, "width": 32, "heads": 2},
    "task": {"name": "language_modelling"},
    "data": {"source": {"name": "generated_tokens", "examples": 32, "length": 16}},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "batch_size": 4,
    "train_for": "2 steps",
}


@pytest.fixture(scope="module")
def config() -> Config:
    return validate_config(DECODER)


def program_of(config: Config):
    return build.build_program(config, load_data(config))


def test_a_step_of_a_decoder_costs_what_the_formula_says(config: Config):
    program = program_of(config)
    T, D, V = 16, 32, len(program.spec.classes) or program.config.data.source.keys["vocabulary"]
    layer = 2 * T * (4 * D * D + 2 * D * 4 * D) + 2 * 2 * T * T * D  # matrices, then attention
    forward = 4 * (2 * layer + 2 * T * D * V)
    assert step_flops(program) == pytest.approx(3 * forward, rel=1e-6)


def test_what_is_computed_again_is_no_model_flop(config: Config):
    plain, again = program_of(config), program_of(change_config(config, {"model.remat": "full"}))
    assert step_flops(again) > step_flops(plain)
    assert model_flops(again) == step_flops(plain)


def test_utilization_is_achieved_over_peak(config: Config):
    program = program_of(config)
    device = SimpleNamespace(device_kind="TPU v5 lite")
    found = Utilization(lambda: model_flops(program), [device, device], "float32")(10.0)
    assert found["mfu"] == pytest.approx(10 * model_flops(program) / (2 * 197e12))
    cpu = SimpleNamespace(device_kind="cpu")
    assert Utilization(lambda: model_flops(program), [cpu], "float32")(10.0) == {}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("TPU v5p", "v5p"), ("TPU v5 lite", "v5e"), ("NVIDIA H100 80GB HBM3", "h100")],
)
def test_chips_go_by_the_names_that_jax_gives_them(kind: str, name: str):
    assert find_chip(kind) is CHIPS[name]
