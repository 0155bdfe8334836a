"""Sums over masked halves of a made-up batch: what adds up passes, whatever the model answers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.evaluation import halves
from lepton_jax.evaluation.halves import TooMuchReached, sums_of_made_up_batch

B, K = 8, 3
Function = Callable[[Any, Any, Any], Any]


def adds_up(function: Function) -> bool:
    """Whether `function(x [B, K], label [B], mask [B])` does, as an evaluation is checked."""
    arguments = (jnp.zeros((B, K)), jnp.zeros(B, jnp.int32), jnp.ones(B))
    traced = jax.make_jaxpr(jax.jit(function))(*arguments)
    outputs = range(len(traced.jaxpr.outvars))
    whole, added = sums_of_made_up_batch(traced, 2, B, list(outputs))
    return all(np.allclose(x, y, rtol=1e-3) for x, y in zip(whole, added, strict=True))


def scanned(x: Any, label: Any, mask: Any) -> Any:
    def add(total: Any, row: Any) -> Any:
        return total + row[0].sum() * row[1], None

    return jax.lax.scan(add, jnp.zeros(()), (x, mask))[0]


def chosen(x: Any, label: Any, mask: Any) -> Any:
    return jax.vmap(lambda r, m: jax.lax.cond(m > 0, lambda: r.sum(), lambda: 0.0))(x, mask).sum()


def counted(x: Any, label: Any, mask: Any) -> Any:
    return jnp.zeros((K, K), jnp.int32).at[label, x.argmax(-1)].add(mask.astype(jnp.int32))


def best(x: Any, label: Any, mask: Any) -> Any:
    order = jnp.argsort(-mask)
    return (x.sum(-1) * mask)[order].cumsum()[-1]


def contrasted(x: Any, label: Any, mask: Any) -> Any:
    logits_BB = jnp.where(mask[None] > 0, x @ x.T, -1e9)
    return (-jnp.diagonal(jax.nn.log_softmax(logits_BB)) * mask).sum()


SUMS: dict[str, Function] = {
    "products": lambda x, label, mask: (x.sum(-1) * mask).sum(),
    "where": lambda x, label, mask: jnp.where(mask > 0, x.max(-1), 0).sum(),
    "dot": lambda x, label, mask: x.T @ mask,
    "weights": lambda x, label, mask: mask.sum(),
    "of a constant batch size": lambda x, label, mask: (x.mean(-1) * mask).sum() / B,
    "classes": lambda x, label, mask: jax.nn.one_hot(label, K).T @ mask,
    "cross-entropy": lambda x, label, mask: (
        -jnp.take_along_axis(jax.nn.log_softmax(x), label[:, None], 1)[:, 0] * mask
    ).sum(),
    "masked inside": lambda x, label, mask: jnp.square(x * mask[:, None]).sum(),
    "bfloat16": lambda x, label, mask: (
        x.astype(jnp.bfloat16).sum(-1).astype(jnp.float32) * mask
    ).sum(),
    "segments": lambda x, label, mask: jax.ops.segment_sum(mask, label, K),
    "nothing": lambda x, label, mask: jnp.zeros(()),
    "two": lambda x, label, mask: ((x.sum(-1) * mask).sum(), mask.sum()),
    "scanned": scanned,
    "chosen": chosen,
    "counted": counted,
    "sorted": best,
}
NO_SUMS: dict[str, Function] = {
    "mean": lambda x, label, mask: (x.sum(-1) * mask).sum() / mask.sum(),
    "mean of all": lambda x, label, mask: x.mean(),
    "without the mask": lambda x, label, mask: x.sum(),
    "a constant": lambda x, label, mask: jnp.ones(()),
    "greatest": lambda x, label, mask: jnp.where(mask > 0, x.max(-1), -jnp.inf).max(),
    "root of a sum": lambda x, label, mask: jnp.sqrt((jnp.square(x).sum(-1) * mask).sum()),
    "variance": lambda x, label, mask: jnp.var(x.sum(-1) * mask),
    "divided by the mask": lambda x, label, mask: (x.sum(-1) * mask / mask).sum(),
    "first row": lambda x, label, mask: x[0].sum(),
    "pairs": lambda x, label, mask: ((x @ x.T) * mask[:, None] * mask).sum(),
    "counts of the whole": lambda x, label, mask: (mask.sum() > 3).astype(jnp.float32),
    "logarithm": lambda x, label, mask: jnp.log(1 + (x.sum(-1) * mask).sum()),
    "one of two is a mean": lambda x, label, mask: (mask.sum(), mask.mean() / mask.sum()),
    "contrasted": contrasted,
}


@pytest.mark.parametrize("function", SUMS.values(), ids=SUMS)
def test_what_adds_up_over_halves_passes(function: Function):
    assert adds_up(function)


@pytest.mark.parametrize("function", NO_SUMS.values(), ids=NO_SUMS)
def test_what_does_not_add_up_is_noticed(function: Function):
    assert not adds_up(function)


def test_what_does_not_depend_on_the_mask_is_not_computed():
    def large(x: Any, label: Any, mask: Any) -> Any:
        def square(y: Any, _: Any) -> Any:
            return y @ y, None

        y = jax.lax.scan(square, jnp.broadcast_to(x.sum(), (10**6, 10**6)), length=10**9)[0]
        return (y[0, :B] * mask).sum()

    assert adds_up(large)


def test_a_mask_that_reaches_too_much_leaves_the_check_to_the_first_real_batch(monkeypatch):
    monkeypatch.setattr(halves, "MOST_EQUATIONS", 1)
    with pytest.raises(TooMuchReached):
        adds_up(SUMS["cross-entropy"])
    monkeypatch.setattr(halves, "MOST_NUMBERS", B * K - 1)
    with pytest.raises(TooMuchReached):
        adds_up(SUMS["masked inside"])
