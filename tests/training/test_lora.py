"""Adapters: what they change, what they leave alone, and where they may go."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath
from jax.sharding import PartitionSpec as P

import lepton_jax
from lepton_jax import api
from lepton_jax.ablation import Variant
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.io.weight_files import read_safetensors
from lepton_jax.training import build, init_from, saved
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.lora import ALPHA, adapter_specs, merge_adapters
from lepton_jax.training.state import State
from lepton_jax.trees import flatten_tree
from tests.ablation.packs import run_packed
from tests.cells import CELLS, JIT, ROOT, train_in
from tests.laws import NUMBERS, difference, largest_difference, read_leaves

LORA = {"rank": 2, "alpha": 4.0, "pattern": r"layers\.\d\.kernel$", "train": "^head"}
SHORT = {"train_for": "12 steps", "checkpoint_every": "4 steps", "log_every": "1 steps"}


def losses(workdir: Path, name: str = "train/loss") -> list[float]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [row[name] for row in map(json.loads, lines) if name in row]


def first(config: dict[str, Any]) -> tuple[Any, State]:
    """The program of a config and its state before the first step."""
    made = validate_config(config)
    program = build.build_program(made, load_data(made))
    return program, init_from.initial_state(single_device_layout(program))[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import RECIPE

    workdir = tmp_path_factory.mktemp("base")
    lepton_jax.train(RECIPE | SHORT | {"train_for": "30 steps"}, str(workdir))
    return workdir


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import RECIPE

    workdir = tmp_path_factory.mktemp("tuned")
    config = RECIPE | SHORT | {"lora": LORA, "init_from": str(base), "seed": 1}
    lepton_jax.train(config, str(workdir))
    return workdir


def test_a_model_begins_as_it_is_without_adapters(recipe):
    (program, plain), (adapted, state) = first(recipe()), first(recipe(lora=LORA))
    params, found = (
        flatten_tree(p.training.variables(s)[0]) for p, s in ((program, plain), (adapted, state))
    )
    assert params.keys() == found.keys()
    for name in params:
        np.testing.assert_array_equal(params[name], found[name])


def test_merged_matrices_compute_what_the_paper_says():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(5, 7)), rng.normal(size=(3, 5))
    a, b = rng.normal(size=(5, 2)), rng.normal(size=(2, 7))
    trained = {"q.kernel.lora_a": a, "q.kernel.lora_b": b, "head": w[0]}
    found = merge_adapters(trained, {"q.kernel": w, "other": w}, 6.0, 2)
    np.testing.assert_allclose(x @ found["q.kernel"], x @ w + 3 * (x @ a) @ b)
    assert found.keys() == {"q.kernel", "head", "other"}
    stacked = {f"q.kernel.lora_{k}": np.stack([v, 2 * v]) for k, v in (("a", a), ("b", b))}
    layers = merge_adapters(stacked, {"q.kernel": np.stack([w, w])}, 6.0, 2)["q.kernel"]
    np.testing.assert_allclose(layers[1], w + 12 * a @ b)


def test_a_run_moves_adapters_alone_and_learns(base: Path, tuned: Path):
    before, after = (
        read_leaves(base, 30, "state.learner.ema."),
        read_leaves(tuned, 12, "state.learner."),
    )
    frozen = {k.removeprefix("frozen."): v for k, v in after.items() if k.startswith("frozen.")}
    assert {n for n in before if not n.startswith("head")} == frozen.keys()
    for name, x in frozen.items():
        assert x.tobytes() == before[name].tobytes(), name
    moved = {k for k in after if k.startswith("params.")}
    assert {k.partition(".mu.")[2] for k in after if ".mu." in k} == {
        k.removeprefix("params.") for k in moved
    }
    assert all(np.any(after[k]) for k in moved)
    assert losses(tuned)[-1] < losses(tuned)[0]


def test_a_stopped_run_goes_on_to_the_same_bytes(base: Path, tuned: Path, recipe, tmp_path: Path):
    config = recipe(lora=LORA, init_from=str(base), seed=1) | SHORT
    workdir = tmp_path / "run"
    shutil.copytree(tuned, workdir)
    shutil.rmtree(workdir / "checkpoints/12")
    lepton_jax.train(config, str(workdir))
    whole, resumed = read_leaves(tuned, 12), read_leaves(workdir, 12)
    assert whole.keys() == resumed.keys()
    assert all(whole[name].tobytes() == resumed[name].tobytes() for name in whole)


def test_the_file_of_adapters_is_small_and_serves_another_run(
    base: Path, tuned: Path, recipe, tmp_path: Path
):
    file = tmp_path / "adapters.safetensors"
    api.export(str(tuned), str(file), format="lora", checkpoint="last")
    arrays = read_safetensors(epath.Path(file))
    assert float(arrays[ALPHA]) == 4.0
    size = sum(x.nbytes for x in arrays.values())
    assert size < file.stat().st_size < size + 200 * len(arrays)
    expected = saved.load_run(str(tuned), "last").weights
    for alpha in (4.0, 8.0):
        given = LORA | {"alpha": alpha, "init_from": str(file)}
        program, state = first(recipe(lora=given, init_from=str(base)))
        found = flatten_tree(program.training.variables(state)[0])
        for name, x in found.items():
            np.testing.assert_allclose(x, expected[name], rtol=1e-6, atol=1e-7)
    other = LORA | {"rank": 3, "init_from": str(file)}
    with pytest.raises(
        UserError,
        match=r"adapters of another config .*lora_a is .* in the file, expected \(.*, 3\)",
    ):
        first(recipe(lora=other, init_from=str(base)))


def test_a_tuned_run_is_read_with_its_adapters_in_it(tuned: Path):
    expected = saved.load_run(str(tuned), "last").weights
    found = saved.read_weights(str(tuned / "checkpoints/12"))
    assert found.keys() == expected.keys()
    for name, x in found.items():
        np.testing.assert_allclose(x, expected[name], rtol=1e-6, atol=1e-6)


def test_what_cannot_be_adapted_is_refused(base: Path, recipe, tmp_path: Path):
    for change, said in (
        ({"pattern": "kernal"}, r"lora\.pattern = 'kernal' matches no parameter"),
        ({"pattern": "bias"}, "which is no matrix"),
        ({"train": "^haed"}, r"lora\.train = '\^haed' matches no parameter"),
    ):
        with pytest.raises(UserError, match=said):
            first(recipe(lora=LORA | change))
    with pytest.raises(UserError, match="rank: missing"):
        first(recipe(lora={"alpha": 1.0}))
    # A new last layer that would stay as it begins.
    frozen = recipe(lora=LORA | {"train": ""}, init_from=str(base), data__source__classes=5)
    with pytest.raises(UserError, match=r"lora would freeze their .*lora\.train='\^head'"):
        first(frozen)
    with pytest.raises(UserError, match="has no lora"):
        api.export(str(base), str(tmp_path / "a.safetensors"), format="lora")


def test_adapters_lie_as_the_rows_and_columns_of_their_matrix():
    shapes = {"q.kernel.lora_a": (2, 8, 4), "q.kernel.lora_b": (2, 4, 6), "x.lora_a": (8, 4)}
    adapters = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}
    specs = {"q.kernel": P(None, "fsdp", "tensor"), "x": P()}
    assert adapter_specs(adapters, specs) == {
        "q.kernel.lora_a": P(None, "fsdp", None),
        "q.kernel.lora_b": P(None, None, "tensor"),
        "x.lora_a": P(),
    }


DECODER = {
    "lora.rank": "2",
    "lora.alpha": "4.0",
    "lora.train": "norm",
    "optimizer.clip_norm": "None",
}


@pytest.mark.slow
@pytest.mark.parametrize("cell", [c for c in CELLS if c.processes == 1], ids=lambda c: c.name)
def test_adapters_compute_the_same_wherever_they_are(cell, tmp_path: Path):
    recipe = ROOT / "configs/markov_decoder.py"
    for name, where in (("alone", JIT), ("placed", cell)):
        train_in(where, recipe, tmp_path / name, **DECODER)
    for name, found in difference(tmp_path / "alone", tmp_path / "placed", NUMBERS).items():
        assert found < 1e-10, name


@pytest.mark.slow
def test_trials_with_adapters_are_packed(tmp_path: Path):
    """All from the same base, each with its own alpha."""
    base, config = str(tmp_path / "base"), "configs/markov_decoder.py"
    api.train(f"{config}:tiny", base, overrides={"precision": "float64", "model.layers": "1"})
    changes = {
        **{"precision": "float64", "train_for": "20 steps", "batch_size": 8, "writers": {}},
        **{"evaluate_every": "10 steps", "log_every": "5 steps", "model.layers": 1},
        **{"data.source.examples": 64, "lora.rank": 2, "lora.alpha": 4.0, "model.width": 32},
        "init_from": base,
    }
    variants = [Variant("a", {"lora.alpha": 1.0}), Variant("b", {"lora.alpha": 8.0})]
    trials = run_packed(tmp_path, config, variants, changes, seeds=range(6))
    noted = [json.loads(p.read_text()) for p in (tmp_path / "packs").glob("*/packing.json")]
    assert max(n["lanes_a_device"] for n in noted) > 1
    for trial in (trials[0], trials[7]):
        api.train(trial.config, str(tmp_path / "alone" / trial.name))
        pair = (tmp_path / "trials" / trial.name, tmp_path / "alone" / trial.name)
        assert largest_difference(*pair) < 1e-10
