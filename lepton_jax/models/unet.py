"""A time-conditional U-Net (Ronneberger et al. 2015, in the form of Ho et al. 2020)."""

import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.errors import UserError
from lepton_jax.nn import ops
from lepton_jax.nn.attention import attention
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Conv, Dropout, Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, D features of the time, N pixels of an image.

GROUPS = 8
"""Groups of each group normalisation; every width is a multiple of this number."""

TIME_SCALE = 1000.0
"""Times in [0, 1] are embedded as Ho et al. embed their 1000 steps."""

ZEROS = nnx.initializers.zeros


class UNetBlock(nnx.Module):
    """A residual block: shortcut(x) + F(x, time), initialised as its shortcut.

    F is two 3 x 3 convolutions, each after a group norm and SiLU. The time's features are added
    between them.
    """

    def __init__(self, cin: int, cout: int, time: int, dropout: Any, *, rngs: nnx.Rngs):
        self.norm1 = _norm(cin, rngs)
        self.conv1 = Conv(cin, cout, rngs=rngs)
        self.time = Linear(time, cout, rngs=rngs)
        self.norm2 = _norm(cout, rngs)
        self.dropout = Dropout(dropout)
        self.conv2 = Conv(cout, cout, init=ZEROS, rngs=rngs)
        self.shortcut = None if cin == cout else Conv(cin, cout, kernel=1, rngs=rngs)

    def __call__(self, x_BHWC: jax.Array, time_BD: jax.Array, noise: Noise | None) -> jax.Array:
        x_BHWC = shard_by_batch(x_BHWC)
        y_BHWC = self.conv1(nnx.silu(self.norm1(x_BHWC)))
        y_BHWC += self.time(time_BD)[:, None, None]
        y_BHWC = self.conv2(self.dropout(nnx.silu(self.norm2(y_BHWC)), noise))
        return y_BHWC + (x_BHWC if self.shortcut is None else self.shortcut(x_BHWC))


class PixelAttention(nnx.Module):
    """Self-attention over pixels, one head: x + attention(x), initialised as the identity."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm = _norm(width, rngs)
        self.qkv = Linear(width, 3 * width, rngs=rngs)
        self.out = Linear(width, width, kernel_init=ZEROS, rngs=rngs)

    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        B, H, W, C = x_BHWC.shape
        x_BN1C = self.norm(x_BHWC).reshape(B, H * W, 1, C)
        y_BN1C = attention(*jnp.split(self.qkv(x_BN1C), 3, -1), causal=False)
        return x_BHWC + self.out(y_BN1C).reshape(B, H, W, C)


class UNet(nnx.Module):
    """A U-Net: images `[B, H, W, C]` at times `[B]` to a field `[B, H, W, outputs[-1]]`.

    The field is initially zero.

    Raises:
      UserError: when a width is no multiple of 8, or the image cannot be halved so many times.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"(stem|conv\d|shortcut|shrink\.\d+|grow\.\d+)\.kernel": ("fsdp",),
        r"(time|embed\d|qkv|out)\.kernel": ("fsdp",),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: tuple[int, ...],
        *,
        widths: tuple[PositiveInt, ...] = (64, 128),
        blocks: PositiveInt = 1,
        patch: PositiveInt = 1,
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (H, W, C).

        Keys:
          widths: the channels at each resolution; each resolution is half of the one before, the
            last one has attention.
          blocks: the number of blocks at each other resolution, down and up.
          patch: the side of the squares of pixels that are first moved into channels.
          dropout: the rate of dropout inside each block.
        """
        _check(input_shape, widths, patch)
        time = 4 * widths[0]
        self.embed1 = Linear(widths[0], time, rngs=rngs)
        self.embed2 = Linear(time, time, rngs=rngs)
        self.stem = Conv(input_shape[-1] * patch**2, widths[0], rngs=rngs)
        self.down: nnx.List[nnx.List[UNetBlock]] = nnx.List()
        self.up: nnx.List[nnx.List[UNetBlock]] = nnx.List()
        self.shrink: nnx.List[Conv] = nnx.List()
        self.grow: nnx.List[Conv] = nnx.List()
        for width, inner in itertools.pairwise(widths):
            self.down.append(_blocks(blocks, width, width, time, dropout, rngs))
            self.shrink.append(Conv(width, inner, stride=2, rngs=rngs))
            self.grow.append(Conv(inner, width, rngs=rngs))
            self.up.append(_blocks(blocks, 2 * width, width, time, dropout, rngs))
        self.before = UNetBlock(widths[-1], widths[-1], time, dropout, rngs=rngs)
        self.attention = PixelAttention(widths[-1], rngs=rngs)
        self.after = UNetBlock(widths[-1], widths[-1], time, dropout, rngs=rngs)
        self.norm = _norm(widths[0], rngs)
        self.field = Conv(widths[0], outputs[-1] * patch**2, init=ZEROS, rngs=rngs)
        self._patch = patch
        self._time = widths[0]

    def __call__(self, x_BHWC: jax.Array, t_B: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes the field at times `t` [B], which are in [0, 1] and float32 or wider."""
        time_BD = self.embed1(time_embedding(TIME_SCALE * t_B, self._time).astype(x_BHWC.dtype))
        time_BD = nnx.silu(self.embed2(nnx.silu(time_BD)))
        x_BHWC = self.stem(ops.space_to_depth(x_BHWC, self._patch))
        seen: list[jax.Array] = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            for block in level:
                x_BHWC = block(x_BHWC, time_BD, noise)
            seen.append(x_BHWC)
            x_BHWC = shrink(x_BHWC)
        x_BHWC = self.attention(self.before(x_BHWC, time_BD, noise))
        x_BHWC = self.after(x_BHWC, time_BD, noise)
        for level, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x_BHWC = grow(ops.upsample_nearest(x_BHWC))
            x_BHWC = jnp.concatenate([x_BHWC, seen.pop()], axis=-1)
            for block in level:
                x_BHWC = block(x_BHWC, time_BD, noise)
        return unfold_patches(self.field(nnx.silu(self.norm(x_BHWC))), self._patch)


def time_embedding(t_B: jax.Array, size: int) -> jax.Array:
    """Computes `[B, size]`: sin and cos of t times size / 2 frequencies from 1 down to 1/10000."""
    rate_F = 10_000.0 ** -jnp.linspace(0, 1, size // 2, dtype=t_B.dtype)
    angle_BF = t_B[:, None] * rate_F
    return jnp.concatenate([jnp.sin(angle_BF), jnp.cos(angle_BF)], axis=-1)


def unfold_patches(x_BHWC: jax.Array, patch: int) -> jax.Array:
    """Inverts `ops.space_to_depth`: returns `[B, p H, p W, C / (p p)]`, p = `patch`."""
    B, H, W, C = x_BHWC.shape
    x = x_BHWC.reshape(B, H, W, patch, patch, C // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(B, patch * H, patch * W, C // patch**2)


def _blocks(count: int, cin: int, cout: int, time: int, dropout: Any, rngs: nnx.Rngs) -> nnx.List:
    first = [UNetBlock(cin, cout, time, dropout, rngs=rngs)]
    return nnx.List(
        first + [UNetBlock(cout, cout, time, dropout, rngs=rngs) for _ in range(count - 1)]
    )


def _norm(width: int, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Makes a group norm; its statistics are float32 or wider."""
    # Fast variance, E[x^2] - E[x]^2, loses all digits where the mean is large.
    return nnx.GroupNorm(width, GROUPS, use_fast_variance=False, rngs=rngs)


def _check(input_shape: tuple[int, ...], widths: tuple[int, ...], patch: int) -> None:
    if not widths or any(width % GROUPS for width in widths):
        raise UserError(f"model.widths = {tuple(widths)}: expected multiples of {GROUPS}")
    height, width, _ = input_shape
    smallest = patch * 2 ** (len(widths) - 1)
    if height % smallest or width % smallest:
        raise UserError(
            f"an image of {height} x {width} does not divide by {smallest}: patches of "
            f"model.patch = {patch}, halved {len(widths) - 1} times by model.widths = "
            f"{tuple(widths)}"
        )
