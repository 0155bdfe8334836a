"""Collectives found in programs that XLA really compiled for eight devices of this machine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lepton_jax.plan.collectives import find_collectives
from lepton_jax.plan.hlo import HloModule

MESH = jax.make_mesh((2, 4), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def compiled(function, x, in_spec, out_spec):
    whole = jax.shard_map(
        function, mesh=MESH, in_specs=in_spec, out_specs=out_spec, check_vma=False
    )
    at = jax.ShapeDtypeStruct(x, jnp.float32, sharding=NamedSharding(MESH, in_spec))
    return find_collectives(HloModule(jax.jit(whole).lower(at).compile().as_text()), 8)


def test_a_sum_over_one_axis():
    (found,) = compiled(lambda x: jax.lax.psum(x, "b"), (4, 1000), P("b"), P())
    assert (found.kind, found.runs, found.bytes) == ("all-reduce", 1, 4 * 1000)
    assert len(found.group) == 4
    assert found.sent == pytest.approx(2 * 3 / 4 * 4000)


def test_groups_are_those_of_the_axis():
    (found,) = compiled(lambda x: jax.lax.psum(x, "a"), (2, 1000), P("a"), P())
    assert found.group == (0, 4)
    (found,) = compiled(lambda x: jax.lax.psum(x, "b"), (4, 1000), P("b"), P())
    assert found.group == (0, 1, 2, 3)


def test_gathering_and_scattering():
    (found,) = compiled(lambda x: jax.lax.all_gather(x, "b"), (4, 1000), P("b"), P())
    assert (found.kind, found.bytes, found.sent) == ("all-gather", 16000, 3 / 4 * 16000)
    (found,) = compiled(lambda x: jax.lax.psum_scatter(x, "b", tiled=True), (1000,), P(), P("b"))
    assert (found.kind, found.bytes, found.sent) == ("reduce-scatter", 4000, 3 / 4 * 4000)


def test_a_ring():
    pairs = [(i, (i + 1) % 4) for i in range(4)]
    (found,) = compiled(lambda x: jax.lax.ppermute(x, "b", pairs), (4, 1000), P("b"), P("b"))
    assert (found.kind, found.sent, len(found.group)) == ("collective-permute", 4000, 4)


def test_the_body_of_a_loop_counts_by_its_turns():
    def looped(x):
        turn = lambda carry, _: (jnp.sin(jax.lax.psum(carry, "b")), None)  # noqa: E731
        return jax.lax.scan(turn, x, length=7)[0]

    (found,) = compiled(looped, (1000,), P(), P())
    assert found.runs == 7
    assert found.sent == pytest.approx(7 * 2 * 3 / 4 * 4000)


def test_loops_in_loops_multiply():
    def looped(x):
        inner = lambda c, _: (jnp.sin(jax.lax.psum(c, "b")), None)  # noqa: E731
        outer = lambda c, _: (jax.lax.scan(inner, c, length=5)[0] + 1, None)  # noqa: E731
        return jax.lax.scan(outer, x, length=3)[0]

    (found,) = compiled(looped, (1000,), P(), P())
    assert found.runs == 15


def test_the_partitioner_of_a_mesh_is_counted_too():
    """x [8, D] by rows, w [D, D] spread over b: w is gathered (or the product reduced)."""
    size = 64
    x = jax.ShapeDtypeStruct((8, size), jnp.float32, sharding=NamedSharding(MESH, P("a")))
    w = jax.ShapeDtypeStruct((size, size), jnp.float32, sharding=NamedSharding(MESH, P(None, "b")))
    out = NamedSharding(MESH, P("a"))
    text = jax.jit(lambda x, w: x @ w, out_shardings=out).lower(x, w).compile().as_text()
    found = find_collectives(HloModule(text), 8)
    assert [c.kind for c in found] == ["all-gather"]
    assert found[0].bytes in (4 * size * size, 4 * 4 * size)


# A TPU program, shortened: a gather in three pieces that share a channel, the middle one in a loop
# of two strides, and a reduce-scatter that is named as a fusion.
TPU = """
HloModule step, is_scheduled=true

%start (p: bf16[16,64]) -> (bf16[16,64], bf16[64,64]) {
  %p = bf16[16,64]{1,0:T(8,128)} parameter(0)
  %g1 = bf16[64,64]{1,0:T(8,128)S(1)} all-gather(%p), channel_id=7, replica_groups=mesh['x'=4,'y'=2] {'x'}, dimensions={0}, metadata={op_name="jit(step)/jvp()/dot_general"}
  ROOT %t1 = (bf16[16,64]{1,0}, bf16[64,64]{1,0}) custom-call(%p, %g1), custom_call_target="Start"
}

%middle (q: bf16[16,64]) -> bf16[64,64] {
  %q = bf16[16,64]{1,0:T(8,128)} parameter(0)
  ROOT %g2 = bf16[64,64]{1,0:T(8,128)} all-gather(%q), channel_id=7, replica_groups=mesh['x'=4,'y'=2] {'x'}, dimensions={0}
}

%body (s: (s32[], bf16[16,64])) -> (s32[], bf16[16,64]) {
  %s = (s32[]{:T(128)}, bf16[16,64]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%s), index=0
  %two = s32[] constant(2)
  %next = s32[] add(%i, %two)
  %w = bf16[16,64]{1,0} get-tuple-element(%s), index=1
  %f = bf16[64,64]{1,0} fusion(%w), kind=kCustom, calls=%middle
  %r = bf16[16,64]{1,0} collective-permute(%w), channel_id=9, source_target_pairs={{0,2},{2,4},{4,6},{6,0}}
  ROOT %out = (s32[], bf16[16,64]{1,0}) tuple(%next, %r)
}

%condition (s: (s32[], bf16[16,64])) -> pred[] {
  %s.1 = (s32[], bf16[16,64]{1,0}) parameter(0)
  %bound = s32[] constant(8)
  %i.1 = s32[] get-tuple-element(%s.1), index=0
  ROOT %less = pred[] compare(%i.1, %bound), direction=LT
}

%all-reduce-scatter.1 (g: f32[64,64]) -> f32[32,64] {
  %g = f32[64,64]{1,0} parameter(0)
  %ar = f32[64,64]{1,0} all-reduce(%g), channel_id=11, replica_groups=mesh['x'=4,'y'=2] {'y'}, to_apply=%sum
  ROOT %ds = f32[32,64]{1,0} dynamic-slice(%ar), dynamic_slice_sizes={32,64}
}

ENTRY %main (a: bf16[16,64], b: f32[64,64]) -> f32[32,64] {
  %a = bf16[16,64]{1,0} parameter(0)
  %b = f32[64,64]{1,0} parameter(1)
  %begin = (bf16[16,64]{1,0}, bf16[64,64]{1,0}) fusion(%a), kind=kCustom, calls=%start
  %zero = s32[] constant(0)
  %init = (s32[], bf16[16,64]{1,0}) tuple(%zero, %a)
  %loop = (s32[], bf16[16,64]{1,0}) while(%init), condition=%condition, body=%body
  ROOT %rs = f32[32,64]{1,0} fusion(%b), kind=kCustom, calls=%all-reduce-scatter.1
}
"""  # noqa: E501


def test_pieces_of_a_tpu_collective_are_one():
    found = {c.kind: c for c in find_collectives(HloModule(TPU), 8)}
    gather = found["all-gather"]
    assert (gather.runs, gather.bytes, gather.group) == (1, 2 * 64 * 64, (0, 2, 4, 6))
    ring = found["collective-permute"]
    assert (ring.runs, ring.bytes, ring.group) == (4, 2 * 16 * 64, (0, 2, 4, 6))
    scatter = found["reduce-scatter"]
    assert (scatter.bytes, scatter.group) == (4 * 64 * 64, (0, 1))
    assert scatter.sent == 4 * 64 * 64 / 2


def test_the_devices_of_a_mesh_may_come_in_another_order():
    """Tensor-parallel groups of a data 2 x tensor 4 mesh, as XLA writes them."""
    order = "mesh['x'=4,'y'=2], device_ids=([2,4]T(1,0)) {'x'}"
    text = TPU.replace("mesh['x'=4,'y'=2] {'y'}", order)
    groups = {c.kind: c.group for c in find_collectives(HloModule(text), 8)}
    assert groups["reduce-scatter"] == (0, 1, 2, 3)


def test_iota_groups_with_a_transpose():
    text = TPU.replace("mesh['x'=4,'y'=2] {'y'}", "[2,4]<=[4,2]T(1,0)")
    groups = {c.kind: c.group for c in find_collectives(HloModule(text), 8)}
    ids = np.arange(8).reshape(4, 2).T.reshape(2, 4)
    assert groups["reduce-scatter"] == tuple(ids[0])


SLICES = """
ENTRY %main (a: f32[128,8,128]) -> f32[128,8,128] {
  %a = f32[128,8,128]{2,1,0} parameter(0)
  %t = token[] after-all()
  %send = (f32[128,8,128]{2,1,0:T(8,128)}, u32[], token[]) send(%a, %t), channel_id=2, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_megascale_target="{1,2}x{0:15}",_xla_megascale_transfer_type="ALL_REDUCE"}, metadata={op_name="jit(step)/transpose(jvp())/dot_general"}
  %send.1 = (bf16[512,1024]{1,0:T(8,128)}, u32[], token[]) send(%a, %t), channel_id=3, is_host_transfer=true, frontend_attributes={_xla_megascale_target="{1:4}x{0:7}",_xla_megascale_transfer_type="ALL_GATHER"}
  ROOT %b = f32[128,8,128]{2,1,0} copy(%a)
}
"""  # noqa: E501


def test_what_slices_send_to_each_other_over_the_network():
    """As libtpu writes it: each device sends its own part to its like in the other slices."""
    found = {c.kind: c for c in find_collectives(HloModule(SLICES), 32)}
    reduced, gathered = found["all-reduce"], found["all-gather"]
    assert (reduced.bytes, reduced.group) == (4 * 128 * 8 * 128, (0, 16))
    assert reduced.sent == reduced.bytes
    assert (gathered.bytes, gathered.group) == (4 * 2 * 512 * 1024, (0, 8, 16, 24))
    assert gathered.sent == 3 * 2 * 512 * 1024
