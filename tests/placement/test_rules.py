"""What is spread over which devices, and what is said where it cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from lepton_jax.errors import UserError
from lepton_jax.placement import rules, strategies

PARAMS = {
    "blocks.attention.kernel": jnp.zeros((3, 16, 8)),
    "blocks.norm.scale": jnp.zeros((3, 16)),
    "head.kernel": jnp.zeros((16, 6)),
}
RULES = {r"attention\.kernel": ("fsdp", "tensor"), r"head": ("fsdp", None)}


def test_axes_align_to_the_last_dimensions():
    place = strategies.mesh(jax.devices(), data=1, fsdp=4, tensor=2)
    found = place.specs(PARAMS, RULES)
    assert found["blocks.attention.kernel"] == P(None, "fsdp", "tensor")
    assert found["head.kernel"] == P("fsdp", None)
    assert found["blocks.norm.scale"] == P()


def test_an_axis_of_one_device_is_left_out():
    place = strategies.mesh(jax.devices(), tensor=2)
    found = place.specs(PARAMS, RULES)
    assert found["blocks.attention.kernel"] == P(None, None, "tensor")


def test_data_parallelism_needs_no_rules():
    for place in (strategies.mesh(jax.devices()), strategies.pmap(jax.devices())):
        assert set(place.specs(PARAMS, {}).values()) == {P()}


def test_a_pattern_that_matches_nothing_is_an_error_with_the_nearest_name():
    place = strategies.mesh(jax.devices(), fsdp=8)
    with pytest.raises(UserError, match=r"'haed.kernel' matches no parameter.*'head.kernel'"):
        place.specs(PARAMS, {"haed.kernel": ("fsdp", None)})


def test_a_dimension_that_does_not_divide_is_an_error():
    place = strategies.mesh(jax.devices(), tensor=4)
    with pytest.raises(UserError, match=r"head.kernel \(16, 6\): dimension 1 of 6 .*tensor = 4"):
        place.specs(PARAMS, {"head": (None, "tensor")})


def test_a_rule_with_more_axes_than_the_parameter_is_an_error():
    place = strategies.mesh(jax.devices(), fsdp=8)
    with pytest.raises(UserError, match="names more axes"):
        place.specs(PARAMS, {"scale": ("fsdp", None, None)})


def test_spreading_parameters_of_a_model_without_rules_is_an_error():
    with pytest.raises(UserError, match="declares no sharding rules"):
        strategies.mesh(jax.devices(), fsdp=8).specs(PARAMS, {})


def test_moments_and_averages_are_spread_as_their_parameter():
    place = strategies.mesh(jax.devices(), fsdp=8)
    params = {"head.kernel": jnp.zeros((16, 6)), "head.bias": jnp.zeros(6)}
    found = place.specs(params, {"head.kernel": ("fsdp", None)})
    state = {
        "params": {"head": {"kernel": jnp.zeros((16, 6)), "bias": jnp.zeros(6)}},
        "optimizer": [{"mu": {"head": {"kernel": jnp.zeros((16, 6))}}, "count": jnp.zeros(())}],
        "factored": {"head": {"kernel": jnp.zeros((16,))}},
    }
    spread = place.state(state, params, found, ("optimizer.",))
    assert spread["params"]["head"]["kernel"].spec == P("fsdp", None)
    assert spread["optimizer"][0]["mu"]["head"]["kernel"].spec == P("fsdp", None)
    assert spread["params"]["head"]["bias"].spec == P()
    assert spread["optimizer"][0]["count"].spec == P()
    assert spread["factored"]["head"]["kernel"].spec == P()


def test_moments_can_be_spread_over_the_copies_of_their_parameter():
    place = strategies.mesh(jax.devices(), data=4, fsdp=2, spread_moments=True)
    params = {"kernel": jnp.zeros((6, 8)), "odd": jnp.zeros((3, 5))}
    found = place.specs(params, {"kernel": ("fsdp", None)})
    state = {"params": params, "optimizer": {"mu": params, "count": jnp.zeros(())}}
    spread = place.state(state, params, found, ("optimizer.",))
    assert spread["params"]["kernel"].spec == P("fsdp", None)
    assert spread["optimizer"]["mu"]["kernel"].spec == P("fsdp", "data")
    assert spread["optimizer"]["mu"]["odd"].spec == spread["optimizer"]["count"].spec == P()


def test_the_table_says_what_is_where():
    place = strategies.mesh(jax.devices(), fsdp=4, tensor=2, data=1)
    text = rules.parameter_table(PARAMS, place.specs(PARAMS, RULES), place.mesh)
    line = next(x for x in text.splitlines() if x.startswith("blocks.attention"))
    whole = sum(leaf.size for leaf in PARAMS.values())
    assert line.split() == ["blocks.attention.kernel", "3x16x8", "float32", f"{3 * 16 * 8:,}",
                            f"{3 * 16 * 8 / whole:.1%}", "-", "x", "fsdp", "x", "tensor",
                            f"{3 * 16 * 8 * 4 // 8:,}"]  # fmt: skip
    assert text.splitlines()[-1].split()[:2] == ["all", f"{whole:,}"]
    assert "replicated" in text


def test_a_batch_that_does_not_divide_names_those_that_do():
    with pytest.raises(UserError, match=r"100 does not divide over 8 .*96, 104") as refused:
        strategies.pmap(jax.devices()).check(100, 1)
    assert refused.value.ways[0].flags == {"config.batch_size": "96"}
    with pytest.raises(UserError, match=r"in 8 accumulated parts.*32, 64"):
        strategies.mesh(jax.devices(), tensor=2, fsdp=2).check(40, 8)


def test_more_devices_than_there_are_is_an_error_that_says_how_to_get_them():
    with pytest.raises(UserError, match="device_count=16"):
        strategies.mesh(jax.devices(), data=16)
    with pytest.raises(UserError, match="does not divide the 8 devices"):
        strategies.mesh(jax.devices(), fsdp=3)


def test_rows_of_a_share_become_the_whole_batch():
    place = strategies.mesh(jax.devices(), tensor=2)
    rows = place.rows(16)
    assert (rows == np.arange(16)).all()  # one process holds all of it
    batch = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    assert (np.asarray(place.put_rows({"x": batch}, rows, 16)["x"]) == batch).all()
