"""`debug` names the cause: where the numbers of a step break, or that they do not."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.console import format_command
from lepton_jax.debug.replay import replay_step
from lepton_jax.errors import UserError, WorkError
from lepton_jax.nn.layers import Conv
from lepton_jax.training import saved
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree

ROOT = Path(__file__).parent.parent.parent
MARKED = 77


@pytest.fixture(autouse=True)
def user_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/user_project"))


@pytest.fixture
def small(recipe) -> Any:
    """The recipe without what these tests do not need."""

    def changed(**changes: Any) -> dict[str, Any]:
        plain = {
            "model": {"name": "cnn", "features": (4,), "hidden": 8},
            "optimizer": {"name": "sgd", "learning_rate": 0.01},
            "schedule": {"name": "constant"},
            "data__augment": "",
            "ema": 0.0,
            "train_for": "12 steps",
            "evaluate_every": "12 steps",
            "checkpoint_every": "12 steps",
        }
        return recipe(**{**plain, **changes})

    return changed


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Any]:
    """A source of dim images, but for one of the training split, which holds a white pixel."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (150, 8, 8, 1), np.uint8)
    image[MARKED, 3, 3] = 255
    label = rng.integers(0, 4, 150).astype(np.int32)
    arrays = {"train_image": image, "train_label": label}
    arrays |= {"valid_image": image[:20], "valid_label": label[:20]}
    np.savez(tmp_path / "images.npz", **arrays)
    return {"name": "npz", "path": str(tmp_path / "images.npz")}


def fails(config: dict[str, Any], workdir: Path) -> int:
    """The step that training stopped at, as its message names it."""
    with pytest.raises(WorkError, match=r"step \d+ .*not finite") as e:
        lepton_jax.train(config, str(workdir))
    command = str(e.value).splitlines()[1]  # right below what happened
    assert f"{format_command('debug', workdir=workdir)} --step=" in command
    return int(command.rpartition("=")[2])


def test_a_healthy_step_is_shown_with_the_runs_own_numbers(small, tmp_path: Path):
    config = small(log_every="1 steps", checkpoint_every="10 steps")
    lepton_jax.train(config, str(tmp_path))
    found = api.debug(str(tmp_path), 11)
    assert found.fault is None
    assert found.snapshot.checkpoint == 10
    logged = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-2])
    assert logged["step"] == 12
    for name in ("loss", "grad_norm", "learning_rate"):
        assert found.snapshot.means[name] == logged[f"train/{name}"], name
    shown = {m.path: m for m in found.modules}
    assert shown["blocks.0.conv"].kind == "Conv"
    assert shown["head"].largest == shown[""].largest > 0
    assert "All of it is finite" in str(found)
    assert found.cause == ""
    assert "blocks.0.conv (Conv)" in str(found)
    json.dumps(found.as_json(), allow_nan=False)
    with pytest.raises(UserError, match=r"no step at which it failed .it is finished.; give the"):
        api.debug(str(tmp_path))


@pytest.mark.slow
def test_the_state_is_that_of_the_run_to_the_byte(recipe, tmp_path: Path):
    config = recipe(keep_last=9, train_for="30 steps", evaluate_every="30 steps")
    lepton_jax.train(config, str(tmp_path))
    wanted = Checkpoints(str(tmp_path)).arrays(20, "state.")
    for later in ("20", "30"):
        (tmp_path / "checkpoints" / later).rename(tmp_path / later)
    snapshot = replay_step(str(tmp_path), 20, saved.read_config(str(tmp_path)))
    assert snapshot.checkpoint == 10
    assert {k: np.asarray(v).tobytes() for k, v in flatten_tree(snapshot.state).items()} == {
        k: v.tobytes() for k, v in wanted.items()
    }


def test_a_learning_rate_that_is_too_high(small, tmp_path: Path):
    step = fails(small(optimizer__learning_rate=1e18), tmp_path)
    found = api.debug(str(tmp_path), step)
    assert found.snapshot.checkpoint is None
    assert found.fault is not None
    assert found.fault.stage in ("forward", "loss", "gradient")
    if found.fault.stage == "forward":
        assert "suspicious: beyond" in str(found)
    assert re.search(
        r"Step \d moved them furthest, by .*The cause is the learning rate", str(found)
    )
    first = api.debug(str(tmp_path), 0)
    assert first.fault is None
    assert api.debug(str(tmp_path)).snapshot.step == step
    assert "it is too long. Try a lower optimizer.learning_rate" in str(first)
    again = api.debug(str(tmp_path), step + 5)
    assert again.snapshot.step == step
    assert "the first non-finite values came at step" in str(again)


def test_an_update_that_overflows(small, tmp_path: Path):
    config = small(optimizer__learning_rate=3e38, data__prepare="scale(std=0.1)")
    found = api.debug(str(tmp_path), fails(config, tmp_path))
    assert found.fault.stage == "update"
    assert "of finite gradients" in str(found)
    assert np.isfinite(found.snapshot.means["loss"])


@pytest.mark.parametrize(
    ("kind", "operation", "code"),
    [("log", "log", "return jnp.log(room - 0.01)"), ("divide", "div", "return 1 / room")],
)
def test_a_users_layer_that_breaks_on_one_example(
    kind, operation, code, small, images, tmp_path: Path
):
    config = small(model={"name": "fragile:Fragile", "kind": kind}, data__source=images)
    step = fails(config, tmp_path / "run")
    found = api.debug(str(tmp_path / "run"), step)
    assert MARKED in found.snapshot.rows
    assert found.fault.stage == "forward"
    assert found.fault.what.startswith("second (Contrast)")
    assert found.fault.operations[0].name == operation
    assert found.fault.operations[0].code == code
    assert found.fault.operations[0].file.endswith("fragile.py")
    assert "input: largest magnitude 1" in str(found)


@pytest.mark.slow
def test_the_layer_of_a_scanned_stack_is_named(small, tmp_path: Path):
    config = small(model={"name": "fragile:Deep", "bad": 1})
    found = api.debug(str(tmp_path), fails(config, tmp_path))
    assert found.fault.what.startswith("layers.1 (Layer)")
    assert {"layers.0.linear", "layers.2.linear"} <= {m.path for m in found.modules}
    assert found.fault.operations[0].code.startswith("return x + jnp.log(")


@pytest.mark.slow
@pytest.mark.parametrize("scan", [False, True])
def test_the_layers_of_a_transformer_are_named(scan: bool, small, tmp_path: Path):
    source = {"name": "generated_tokens", "length": 8, "vocabulary": 11, "examples": 64}
    shape = {"layers": 2, "width": 8, "heads": 2}
    config = small(
        model={"name": "transformer", **shape, "scan": scan, "remat": "full"},
        task={"name": "language_modelling"},
        data={"source": source},
        batch_size=4,
        train_for="1 steps",
    )
    lepton_jax.train(config, str(tmp_path))
    found = api.debug(str(tmp_path), 0)
    assert found.fault is None
    wanted = {f"blocks.{i}.{name}" for i in (0, 1) for name in ("attention.q", "mlp.down")}
    assert wanted <= {m.path for m in found.modules}
    assert not any("TransformerBlock" in m.path for m in found.modules)
    assert found.notes == ()


def test_an_infinite_number_in_the_data(small, images, tmp_path: Path):
    arrays = dict(np.load(images["path"]))
    arrays |= {k: v.astype(np.float32) for k, v in arrays.items() if k.endswith("image")}
    arrays["train_image"][MARKED, 0, 0] = np.inf
    np.savez(images["path"], **arrays)
    config = small(data__source=images)
    found = api.debug(str(tmp_path / "run"), fails(config, tmp_path / "run"))
    assert found.fault.stage == "batch"
    place = f"row {MARKED} of train_image, train_label in {images['path']}"
    assert f"example {MARKED} of the train split: {place}\n" in str(found)
    assert "the data itself has these values" in str(found)


def test_the_examples_whose_loss_is_infinite_are_named(small, images, tmp_path: Path):
    config = small(data__source=images, task={"name": "fragile:Brightness"})
    found = api.debug(str(tmp_path / "run"), fails(config, tmp_path / "run"))
    assert found.fault.stage == "loss"
    place = f"row {MARKED} of train_image, train_label in {images['path']}"
    named = f"not finite is the loss of\n    example {MARKED} of the train split: {place}\n"
    assert named in str(found)
    assert "added up over the batch / its weight: accuracy " in str(found)


@pytest.mark.slow
def test_a_step_that_is_finite_only_as_xla_rearranged_it(small, tmp_path: Path):
    lepton_jax.train(small(task={"name": "fragile:Rearranged"}), str(tmp_path))
    found = api.debug(str(tmp_path), 0)
    assert found.fault.stage == "loss"
    assert "note: the compiled step was finite (grad_norm " in str(found)
    assert "another device or version may fail here" in str(found)


def test_a_preparation_that_divides_by_next_to_nothing(small, tmp_path: Path):
    found = api.debug(
        str(tmp_path), fails(small(data__prepare="scale(mean=0.0, std=1e-37)"), tmp_path)
    )
    assert found.fault.stage == "batch"
    assert "come from data.prepare='scale(mean=0.0, std=1e-37)'" in str(found)
    assert found.fault.operations[0].name == "div"
    assert found.fault.operations[0].file.startswith("lepton_jax/transforms/")


def test_gradients_that_overflow_after_a_finite_forward_pass(small, tmp_path: Path):
    config = small(model={"name": "fragile:Steep"})
    found = api.debug(str(tmp_path), fails(config, tmp_path))
    assert np.isfinite(found.snapshot.means["loss"])
    assert found.fault.stage == "gradient"
    assert found.fault.what.startswith("second.scale")  # after first.kernel in forward order
    assert "first.kernel" in str(found.fault)
    assert "head.kernel" not in str(found.fault)
    assert found.fault.operations[0].code == "return x * 1e30 * 1e30 * 1e-20"


@pytest.mark.slow
def test_accumulated_and_half_precision_steps_are_watched_too(small, tmp_path: Path):
    config = small(accumulate=2, precision="bfloat16", batch_size=4)
    lepton_jax.train(config, str(tmp_path))
    found = api.debug(str(tmp_path), 2)
    assert found.fault is None
    assert {m.path for m in found.modules} >= {"", "blocks.0", "hidden", "head"}


@pytest.mark.slow
def test_a_task_with_a_step_of_its_own(small, images, tmp_path: Path):
    config = small(
        model={"name": "gan:Generator"},
        task={"name": "gan:GAN"},
        data={"source": images, "prepare": "scale()"},
        optimizer={"name": "sgd", "learning_rate": 1e30},
    )
    found = api.debug(str(tmp_path / "run"), fails(config, tmp_path / "run"))
    assert found.fault is not None
    assert found.fault.operations
    assert found.fault.operations[0].file
    assert {"Discriminator.a", "Discriminator.b"} <= {m.path for m in found.modules}


@pytest.mark.slow
def test_what_was_replaced_is_put_back(small, tmp_path: Path):
    before = (Conv.__call__, Functional.merge, jax.checkpoint)
    lepton_jax.train(small(train_for="2 steps"), str(tmp_path))
    api.debug(str(tmp_path), 1)
    assert (Conv.__call__, Functional.merge, jax.checkpoint) == before
    assert not jax.config.values["jax_disable_jit"]


def test_mistakes_are_named(small, tmp_path: Path):
    with pytest.raises(UserError, match="holds no record"):
        api.debug(str(tmp_path / "nowhere"), 0)
    lepton_jax.train(small(train_for="2 steps"), str(tmp_path))
    for step, expected in ((-1, r"--step: expected int >= 0"), (2, r"expected one of 0 to 1")):
        with pytest.raises(UserError, match=expected):
            api.debug(str(tmp_path), step)


@pytest.mark.slow
def test_the_command_prints_one_json_document(small, tmp_path: Path):
    lepton_jax.train(small(train_for="2 steps"), str(tmp_path))
    command = [sys.executable, "launch.py", "debug", f"--workdir={tmp_path}", "--step=1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["finite"] is True
