"""Topologies by name."""

import pytest

from lepton_jax.errors import UserError
from lepton_jax.plan.topology import parse_topology


@pytest.mark.parametrize(
    ("name", "chip", "shape", "slices", "count"),
    [
        ("v5e:16x16", "v5e", (16, 16), 1, 256),
        ("v4:4x4x4", "v4", (4, 4, 4), 1, 64),
        ("2xv6e:4x4", "v6e", (4, 4), 2, 32),
        ("h100:16", "h100", (16,), 1, 16),
    ],
)
def test_a_name_says_chip_shape_and_slices(name, chip, shape, slices, count):
    found = parse_topology(name)
    assert (found.chip.name, found.shape, found.slices, found.count) == (chip, shape, slices, count)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("v5x:4x4", "did you mean 'v5"),
        ("v5e:4x4x4", "takes 2 numbers"),
        ("v4:4x4", "takes 3 numbers"),
        ("v5e", "expected CHIP:SHAPE"),
        ("0xv5e:4x4", "takes 2 numbers"),
        ("h100:12", "nodes of 8"),
        ("2xv4:4x4x4", "several slices"),
    ],
)
def test_what_is_no_topology_is_told_with_examples(name, complaint):
    with pytest.raises(UserError, match=complaint):
        parse_topology(name)
