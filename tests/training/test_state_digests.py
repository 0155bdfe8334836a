"""A record keeps the digest of each state that it saved, wherever the state lay."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import lepton_jax
from lepton_jax.cluster.processes import Processes
from lepton_jax.config.config_file import resolve_config
from lepton_jax.tracking.state_chain import (
    StateFile,
    combine_digests,
    find_broken_link,
    shorten_digests,
)
from lepton_jax.training.state_digests import StateDigests, digest_array, digest_state
from lepton_jax.training.train import train
from tests.cells import Cell
from tests.laws import read_leaves

ROOT = Path(__file__).parent.parent.parent


def test_a_digest_is_of_type_shape_and_bytes():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    others = [x.reshape(3, 2), x.astype(np.int32), x + np.float32(1e-7), x.view(np.uint32), -x]
    assert len({digest_array(x), *map(digest_array, others)}) == 6
    assert digest_array(np.asfortranarray(x)) == digest_array(x)
    assert digest_array(np.float32(3.0)[()]) == digest_array(np.array(3.0, np.float32))


def test_the_digests_do_not_depend_on_the_placement():
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))
    tree = {
        "w": jnp.arange(64.0).reshape(8, 8),
        "half": jnp.arange(8, dtype=jnp.bfloat16),
        "scalar": jnp.int32(3),
        "key": jax.random.key(7),
    }
    where = {"w": P("b", "a"), "half": P("a"), "scalar": P(), "key": P()}
    spread = {k: jax.device_put(x, NamedSharding(mesh, where[k])) for k, x in tree.items()}
    assert digest_state(spread) == digest_state(tree)
    assert digest_state(tree)["half"] != digest_state({"half": tree["half"].astype("f4")})["half"]


def test_a_state_may_be_donated_once_its_digests_are_started():
    digests = StateDigests(Processes())
    state = {"w": jnp.ones(1 << 20)}
    wanted = digest_state(state)
    finish = digests.start(state)
    jax.jit(lambda x: x * 0, donate_argnums=0)(state["w"]).block_until_ready()
    assert finish() == wanted
    digests.close()


def stop(config: dict[str, Any], workdir: Path, until: int) -> None:
    """Trains until a step."""
    train(resolve_config(config)[0], str(workdir), longer=False, command=["train"], until=until)


@pytest.mark.slow
def test_a_run_that_goes_on_has_the_states_of_one_left_alone(recipe, tmp_path: Path):
    lepton_jax.train(recipe(train_for="40 steps"), str(tmp_path / "whole"))
    stop(recipe(train_for="40 steps"), tmp_path / "cut", until=20)
    states = tmp_path / "cut/states.jsonl"
    states.write_bytes(b"".join(states.read_bytes().splitlines(True)[:1]))  # as a kill leaves it
    lepton_jax.train(recipe(train_for="40 steps"), str(tmp_path / "cut"))
    whole, cut = (StateFile(str(tmp_path / name)).links() for name in ("whole", "cut"))
    assert [(link.step, link.state) for link in cut] == [(x.step, x.state) for x in whole]
    assert find_broken_link(cut) is None


@pytest.mark.slow
def test_a_record_without_digests_goes_on_and_begins_with_them(recipe, tmp_path: Path):
    stop(recipe(train_for="40 steps"), tmp_path, until=20)
    (tmp_path / "states.jsonl").unlink()
    lepton_jax.train(recipe(train_for="40 steps"), str(tmp_path))
    links = StateFile(str(tmp_path)).links()
    assert [link.step for link in links] == [20, 30, 40]
    assert find_broken_link(links) is None


@pytest.mark.slow
def test_a_state_in_parts_on_two_processes_has_the_digests_of_its_arrays(tmp_path: Path):
    cell = Cell("mesh fsdp 4, 2 processes", {"name": "mesh", "fsdp": 4}, devices=2, processes=2)
    keys = ("train_for=20 steps", "checkpoint_every=10 steps", "batch_size=8")
    cell.finish(
        tmp_path, ["--config=configs/digits_cnn.py:tiny", *(f"--config.{key}" for key in keys)]
    )
    links = StateFile(str(tmp_path)).links()
    assert [link.step for link in links] == [10, 20]
    leaves = read_leaves(tmp_path, 20, "state.")
    digests = {name: digest_array(x) for name, x in leaves.items()}
    assert links[-1].leaves == shorten_digests(digests)
    assert links[-1].state == combine_digests(digests)
