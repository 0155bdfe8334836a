"""The command, from the front door."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.cli.parse import parse_line
from lepton_jax.commands import COMMANDS
from lepton_jax.config.validation import change_config, validate_config
from lepton_jax.errors import UserError
from lepton_jax.plan import remedies
from lepton_jax.plan.compile import read_refused_memory

ROOT = Path(__file__).parent.parent.parent

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
needs_libtpu = pytest.mark.skipif(
    not HAS_LIBTPU, reason="libtpu is not installed: pip install '.[plan-tpu]'"
)


def launch(*arguments, code=0):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    found = subprocess.run(
        [sys.executable, "launch.py", "plan", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert found.returncode == code, found.stderr
    return found


@pytest.mark.slow
def test_a_recipe_is_measured_here():
    facts = json.loads(launch("--config=configs/digits_cnn.py:tiny", "--json").stdout)
    # conv 1-8 and 8-16 with their norms, hidden 2*2*16 -> 128, head 128 -> 10
    assert facts["parameters"] == 72 + 16 + 1152 + 32 + 64 * 128 + 128 + 1280 + 10
    assert facts["parameter_bytes"] == 4 * facts["parameters"]
    # parameters, two moments, the average, and what counts and seeds
    assert 4 * facts["parameter_bytes"] < facts["checkpoint_bytes"] < 4.1 * facts["parameter_bytes"]
    assert facts["steps"] == 3
    assert facts["batches_an_epoch"] == pytest.approx(facts["train_examples"] / 8)
    forward = 8 * 2 * (64 * 8 * 9 + 16 * 16 * 8 * 9 + 64 * 128 + 1280)
    assert 2 * forward < facts["flops"] < 3.1 * forward
    assert facts["memory"]["total"] > facts["checkpoint_bytes"]
    assert 0 < facts["step_seconds"] < facts["run_seconds"]


@pytest.mark.slow
def test_of_texts_in_buckets_the_middle_length_is_measured():
    buckets = "--config.data.buckets=(6, 8, 12, 40)"
    facts = json.loads(launch("--config=configs/trec_cnn.py:tiny", buckets, "--json").stdout)
    assert 0 < facts["step_seconds"] < facts["run_seconds"]


def test_the_page_says_what_a_person_wants_to_know():
    page = launch("--config=configs/digits_cnn.py:tiny").stdout
    for word in ("parameters", "a checkpoint", "steps", "memory", "evaluating", "the run"):
        assert word in page


def test_an_unknown_topology_names_known_ones():
    found = launch("--config=configs/digits_cnn.py", "--topology=v5f:4x4", code=2)
    assert "v5e:2x2" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.skipif(HAS_LIBTPU, reason="libtpu is installed")
def test_a_missing_compiler_says_how_to_get_it():
    found = launch("--config=configs/digits_cnn.py:tiny", "--topology=v5e:2x2", code=2)
    assert "pip install" in found.stderr


def test_data_that_is_not_at_hand_says_how_to_plan_without(tmp_path, recipe):
    found = launch(
        "--config=imagenet_resnet50", f"--config.data.source.data_dir={tmp_path}", code=2
    )
    assert "plan --config=imagenet_resnet50:synthetic" in found.stderr


def test_a_price_is_a_number():
    with pytest.raises(UserError, match="--price=cheap"):
        parse_line(COMMANDS, ["plan", "--config=configs/digits_cnn.py:tiny", "--price=cheap"])


def test_remedies_are_changes_that_the_config_allows(recipe):
    config = validate_config(recipe(batch_size=64))
    first, second, _ = remedies.remedy_rounds(config, 8)
    flags = [remedies.flags_of(change) for change in first]
    assert flags == [
        "--config.strategy.name=mesh --config.strategy.fsdp=8",
        "--config.accumulate=2",
        "--config.accumulate=4",
        "--config.precision=bfloat16",
    ]
    assert "--config.accumulate=2 --config.precision=bfloat16" in map(remedies.flags_of, second)
    for change in [*first, *second]:
        change_config(config, change)


def test_what_the_compiler_refused_is_added_up():
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.ShapeDtypeStruct((8, 1024), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    whole = jax.ShapeDtypeStruct((1024,), jnp.float32, sharding=NamedSharding(mesh, P()))
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (25.25G) exceeds available HBM (15.75G)."
    )
    found = read_refused_memory(message, [spread, whole])
    assert found.arguments == 2 * 4096
    assert found.total == pytest.approx(25.25 * 2**30 + 2 * 4096)


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["pmap", "mesh"])
def test_the_step_is_compiled_for_a_slice(strategy):
    found = launch(
        "--config=configs/digits_cnn.py:tiny",
        "--topology=v5e:2x2",
        f"--config.strategy.name={strategy}",
        "--json",
    )
    facts = json.loads(found.stdout)
    assert facts["fits"]
    assert facts["devices_used"] == 4
    reduced = [row for row in facts["collectives"] if row["kind"] == "all-reduce"]
    gradients = sum(row["bytes"] for row in reduced)
    assert facts["parameter_bytes"] <= gradients < 1.2 * facts["parameter_bytes"]


@needs_libtpu
@pytest.mark.slow
def test_what_does_not_fit_is_told_with_what_would():
    found = launch(
        "--config=configs/cifar10_cnn.py:tiny",
        "--topology=v5e:2x2",
        "--config.strategy.name=pmap",
        "--config.model.features=(64,64)",
        "--config.batch_size=131072",
        "--config.data.source.examples=200000",
        "--json",
        code=1,
    )
    facts = json.loads(found.stdout)
    assert not facts["fits"]
    assert facts["memory"]["total"] > facts["available"]
    best = facts["remedies"][0]
    assert best["fits"]
    assert best["memory"] <= facts["available"]
