"""Counts and times against numbers worked out by hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from lepton_jax.perf.chips import CHIPS
from lepton_jax.perf.flops import count_flops
from lepton_jax.plan.collectives import Collective
from lepton_jax.plan.estimate import Estimate, estimate_step, link_bandwidth, link_seconds
from lepton_jax.plan.hlo import HloModule
from lepton_jax.plan.topology import parse_topology
from lepton_jax.plan.traffic import count_traffic

GB = 1e9


def torus(*shape, slices=1):
    """Devices of a slice as libtpu describes them."""
    places = [(x, y) for x in range(shape[0]) for y in range(shape[1])]
    return [
        SimpleNamespace(coords=[*xy, 0], slice_index=s, id=i)
        for s in range(slices)
        for i, xy in enumerate(places)
    ]


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_matrix_product_and_its_gradients_are_three():
    def loss(w, x):
        return jnp.square(x @ w).sum()

    one = 2 * 8 * 16 * 32
    assert count_flops(loss, spec(16, 32), spec(8, 16)) == one
    assert count_flops(jax.grad(loss, (0, 1)), spec(16, 32), spec(8, 16)) == 3 * one


def test_a_convolution_and_its_gradients():
    def convolved(w, x):
        return jax.lax.conv_general_dilated(
            x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    w, x = spec(3, 3, 16, 32), spec(4, 8, 8, 16)
    one = 2 * (4 * 4 * 4 * 32) * (3 * 3 * 16)
    assert count_flops(convolved, w, x) == one
    gradients = count_flops(jax.grad(lambda w, x: jnp.square(convolved(w, x)).sum(), (0, 1)), w, x)
    assert gradients == pytest.approx(3 * one, rel=0.3)  # borders of SAME are counted in full


def test_loops_count_by_their_length_and_recomputation_counts():
    def layers(w, x):
        return jax.lax.scan(lambda x, w: (jnp.sin(x @ w), None), x, w)[0].sum()

    one = 5 * 2 * 8 * 16 * 16
    assert count_flops(layers, spec(5, 16, 16), spec(8, 16)) == one
    assert count_flops(jax.grad(layers), spec(5, 16, 16), spec(8, 16)) == 3 * one
    again = jax.grad(lambda w, x: jax.checkpoint(layers)(w, x))
    assert count_flops(again, spec(5, 16, 16), spec(8, 16)) == 4 * one


def test_traffic_of_a_product():
    """Each operand read and the result written once."""
    text = jax.jit(lambda x, w: x @ w).lower(spec(64, 32), spec(32, 128)).compile().as_text()
    assert count_traffic(HloModule(text)) == 4 * (64 * 32 + 32 * 128 + 64 * 128)


def test_traffic_of_a_loop_reads_a_layer_at_a_time():
    def layers(w, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0]

    text = jax.jit(layers).lower(spec(10, 64, 64), spec(8, 64)).compile().as_text()
    least = 4 * 10 * (64 * 64 + 2 * 8 * 64)
    assert (
        least <= count_traffic(HloModule(text)) < 4 * least
    )  # the whole stack each turn would be 10 x


@pytest.mark.parametrize(
    ("topology", "members", "links"),
    [
        ("v5e:4x4", range(4), 1),  # along one axis, which is open at both ends
        ("v5e:4x4", range(16), 2),
        ("v5e:16x16", range(16), 2),  # an axis of 16 closes to a ring
        ("v5e:16x16", range(256), 4),
        ("v5e:2x2", range(2), 1),
    ],
)
def test_links_that_a_group_can_use(topology, members, links):
    found = parse_topology(topology)
    devices = torus(*found.shape)
    assert link_bandwidth([devices[i] for i in members], found) == links * 50 * GB


def test_seconds_of_an_all_reduce():
    """1 GB over 16 chips of v5e:4x4: 2 x 15/16 GB over two links of 50 GB/s."""
    one = Collective("all-reduce", 1, 1 * GB, tuple(range(16)), (), "")
    seconds = link_seconds(one, torus(4, 4), parse_topology("v5e:4x4"))
    assert seconds == pytest.approx(2 * 15 / 16 / 100)


def test_slices_meet_over_the_network():
    """Within each slice as above, then each chip exchanges its sixteenth with the other slice."""
    one = Collective("all-reduce", 1, 1 * GB, tuple(range(32)), (), "")
    seconds = link_seconds(one, torus(4, 4, slices=2), parse_topology("2xv5e:4x4"))
    assert seconds == pytest.approx(2 * 15 / 16 / 100 + 2 * (1 / 2) * (1 / 16) / 3.125)


def test_nodes_of_gpus_meet_over_the_network():
    one = Collective("all-gather", 2, 1 * GB, tuple(range(16)), (), "")
    devices = [SimpleNamespace(id=i) for i in range(16)]
    seconds = link_seconds(one, devices, parse_topology("h100:16"))
    assert seconds == pytest.approx(2 * (7 / 8 / 450 + 1 / 8 * 1 / 2 / 50))


def test_a_step_lies_between_its_longest_part_and_the_sum():
    sent = [Collective("all-gather", 1, 1 * GB, tuple(range(4)), (), "")]
    found = estimate_step(
        parse_topology("v5e:2x2"), "bfloat16", torus(2, 2), 4 * 197e12, 8.19e9, sent
    )
    assert found == Estimate(compute=1.0, memory=pytest.approx(0.01), links=pytest.approx(0.0075))
    assert found.shortest == 1.0
    assert found.longest == pytest.approx(1.0075)
    # a third of the work is recomputation, and the step takes twice its arithmetic
    assert found.utilization(300.0, 400.0, 2.0) == pytest.approx(0.375)


def test_every_chip_is_described():
    for chip in CHIPS.values():
        assert bool(chip.wraps) != bool(chip.node)
        assert chip.bfloat16 >= chip.float32 > 1e14
        assert chip.hbm > 1e10
