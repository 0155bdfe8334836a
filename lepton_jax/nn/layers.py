"""Layers whose numbers do not depend on placement.

Flax's dropout draws one mask a batch from its own stream of keys, and its batch normalisation must
be told in the constructor over which axis the batch is split. Here every draw is keyed by example,
and statistics are summed by `collectives.batch_sum`, which knows where the step runs.

Every layer and model is called with `noise`, the random keys of a training step. In evaluation
`noise` is None: dropout keeps every entry, batch normalisation uses its running statistics.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import is_off
from lepton_jax.nn import ops
from lepton_jax.nn.collectives import batch_sum
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels.

Linear = nnx.Linear

LECUN_NORMAL = nnx.initializers.lecun_normal()


def fan_in_uniform(fan_in: int) -> nnx.Initializer:
    """Returns the initializer U(-b, b), b = 1 / sqrt(fan_in): PyTorch's default, for biases too.

    Published results that were obtained in PyTorch depend on it.
    """
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, *_: Any) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def uniform_linear(cin: int, cout: int, *, fan_in: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Returns a `Linear` whose kernel and bias are initialised by `fan_in_uniform`."""
    init = fan_in_uniform(fan_in)
    return Linear(cin, cout, kernel_init=init, bias_init=init, rngs=rngs)


class HyperVariable(nnx.Variable):
    """A number that trials may vary: part of the model's state, never of its parameters."""


class Conv(nnx.Module):
    """2-D convolution `[B, H, W, cin]` to `[B, H', W', cout]`; LeCun-normal kernel, zero bias."""

    def __init__(
        self,
        cin: int,
        cout: int,
        *,
        kernel: ops.Pair = 3,
        stride: ops.Pair = 1,
        padding: ops.Padding = "SAME",
        bias: bool = True,
        init: nnx.Initializer = LECUN_NORMAL,
        rngs: nnx.Rngs,
    ):
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.kernel = nnx.Param(init(rngs.params(), (*size, cin, cout)))
        self.bias = nnx.Param(jnp.zeros(cout)) if bias else None
        self._stride = stride
        self._padding = padding if isinstance(padding, str) else tuple(padding)

    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        y_BHWC = ops.conv2d(x_BHWC, self.kernel[...], stride=self._stride, padding=self._padding)
        return y_BHWC if self.bias is None else y_BHWC + self.bias[...]


class Dropout(nnx.Module):
    """Zeroes each entry with probability `rate` and scales the others by 1 / (1 - rate).

    `rate`, in [0, 1), may be a traced array. The Python number 0.0 takes the layer out of the
    program. An example's mask depends on its own key alone, and is the same in every precision.
    """

    def __init__(self, rate: float | jax.Array):
        self.rate = None if is_off(rate) else HyperVariable(jnp.asarray(rate))

    def __call__(self, x: jax.Array, noise: Noise | None) -> jax.Array:
        """Drops entries of `x` `[B, ...]`; returns an array of the same shape and dtype."""
        if self.rate is None or noise is None:
            return x
        keep = 1 - self.rate[...].astype(jnp.float32)

        def draw(key: jax.Array) -> jax.Array:
            return jax.random.uniform(key, x.shape[1:], jnp.float32)

        kept = jax.vmap(draw)(noise()) < keep
        return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last (Ioffe & Szegedy 2015).

    y = scale (x - mean) / sqrt(var + epsilon) + bias. In training mean and (biased) variance are
    those of the whole batch, also where each device holds a shard of it, and the running ones
    become momentum * running + (1 - momentum) * batch; evaluation uses the running ones. They are
    float32 or wider, as is the arithmetic, whatever the dtype of `x`. Without `scale` or `bias`
    these are fixed at 1 and 0.
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        scale: bool = True,
        bias: bool = True,
    ):
        self.scale = nnx.Param(jnp.ones(features)) if scale else None
        self.bias = nnx.Param(jnp.zeros(features)) if bias else None
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self._momentum = momentum
        self._epsilon = epsilon

    def __call__(self, x: jax.Array, noise: Noise | None) -> jax.Array:
        """Normalises `x` `[B, ..., C]`; returns an array of the same shape and dtype."""
        dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if noise is None:
            mean, var = self.mean[...].astype(x.dtype), self.var[...].astype(x.dtype)
        else:
            mean, var = self._statistics(x)
        scale = jax.lax.rsqrt(var + self._epsilon)
        if self.scale is not None:
            scale = self.scale[...].astype(x.dtype) * scale
        y = (x - mean) * scale
        return (y if self.bias is None else y + self.bias[...].astype(x.dtype)).astype(dtype)

    def _statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        axes = tuple(range(x.ndim - 1))
        count, total = batch_sum((jnp.full((), x.size // x.shape[-1], x.dtype), x.sum(axes)))
        mean = total / count
        # From centred values: E[x^2] - E[x]^2 loses all digits where the mean is large.
        var = batch_sum(jnp.square(x - mean).sum(axes)) / count
        for running, batch in ((self.mean, mean), (self.var, var)):
            old = running[...]
            new = self._momentum * old + (1 - self._momentum) * batch.astype(old.dtype)
            running[...] = jax.lax.stop_gradient(new)
        return mean, var
