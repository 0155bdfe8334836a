"""Vision Transformer (Dosovitskiy et al. 2021): an image as a sequence of patches."""

import functools
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lepton_jax.config.schema import Later, PositiveFloat, PositiveInt, Rate, Running
from lepton_jax.errors import UserError
from lepton_jax.nn import ops
from lepton_jax.nn.attention import INIT_STD
from lepton_jax.nn.blocks import (
    EPSILON,
    Embedding,
    Remat,
    TransformerBlock,
    apply_layers,
    norm_layer,
    repeat_layers,
)
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Dropout, Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, P patch, T tokens, D width of a token, L layers,
# K outputs.


class ViT(nnx.Module):
    """A classifier of images `[B, H, W, C]`, to `outputs` logits.

    ViT-B/16: the defaults, 86,567,656 parameters at 224 x 224 and 1,000 outputs. The plain ViT-S/16
    of Beyer et al. (2022): `width=384, heads=6, positions='sincos', pool='mean'`. Layers and their
    initialisation are those of the decoder-only `Transformer`, without the causal mask; the output
    layer is initialised with zeros.

    Raises:
      UserError: when the patches do not tile the image, `heads` do not divide `width`, or 4 does
        not divide `width` with positions 'sincos'.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(q|k|v|up)\.kernel": ("fsdp", "tensor"),
        r"\.(o|down)\.kernel": ("tensor", "fsdp"),
        r"patches\.kernel": (None, "fsdp"),
        r"head\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        patch: PositiveInt = 16,
        layers: PositiveInt = 12,
        width: PositiveInt = 768,
        heads: PositiveInt = 12,
        positions: Literal["learned", "sincos"] = "learned",
        pool: Literal["token", "mean"] = "token",
        mlp: Later[Literal["gelu", "gelu_exact"]] = "gelu",
        epsilon: Later[PositiveFloat] = EPSILON,
        dropout: Rate = 0.0,
        scan: bool = False,
        remat: Running[Remat] = "none",
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (H, W, C).

        Keys:
          patch: the side of a patch in pixels; the patches tile the image.
          layers: the number of layers.
          width: the size of a patch's vector.
          heads: the attention heads of a layer; they divide `width`.
          positions: how a patch's position is added to its vector: learned vectors, or fixed sines
            and cosines.
          pool: what the output layer sees: a class token beside the patches ('token'), or the mean
            of all patches.
          mlp: the activation of the feed-forward part: GELU in its tanh form, or exact.
          epsilon: what the norms add to the variance.
          dropout: the rate of dropout on the embedding, and on what attention and the feed-forward
            part add.
          scan: whether the layers are stacked, `[L, ...]`, and compiled as one; it changes no
            result.
          remat: what the backward pass computes again to save memory: nothing, all of a layer
            ('full'), or all but its matrix products ('dots').
        """
        height, image_width, channels = input_shape
        _check(height, image_width, patch, width, heads, positions)
        self._patch = patch
        self._grid = (height // patch, image_width // patch)
        self.patches = Linear(
            patch * patch * channels,
            width,
            kernel_init=nnx.initializers.lecun_normal(),
            rngs=rngs,
        )
        self.token = nnx.Param(jnp.zeros(width)) if pool == "token" else None
        tokens = self._grid[0] * self._grid[1] + (pool == "token")
        learned = positions == "learned"
        self.positions = Embedding(tokens, width, rngs=rngs) if learned else None
        self.dropout = Dropout(dropout)
        block = functools.partial(
            TransformerBlock,
            width=width,
            heads=heads,
            kv_heads=heads,
            mlp_width=4 * width,
            norm="layer",
            activation=mlp,
            causal=False,
            rope_base=None,
            bias=True,
            dropout=dropout,
            out_std=INIT_STD / (2 * layers) ** 0.5,
            epsilon=epsilon,
        )
        self.blocks = repeat_layers(block, layers, scan=scan, rngs=rngs)
        self.norm = norm_layer("layer", width, True, rngs, epsilon)
        self.head = Linear(width, outputs, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self._remat = remat

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        tiles_BHWD = ops.space_to_depth(x_BHWC, self._patch)
        x_BTD = self.patches(tiles_BHWD.reshape(x_BHWC.shape[0], -1, tiles_BHWD.shape[-1]))
        if self.token is not None:
            token_B1D = jnp.broadcast_to(self.token[...], (x_BTD.shape[0], 1, x_BTD.shape[-1]))
            x_BTD = jnp.concatenate([token_B1D, x_BTD], axis=1)
        x_BTD = self.dropout(shard_by_batch(x_BTD + self._positions(x_BTD)), noise)
        x_BTD = self.norm(
            shard_by_batch(apply_layers(self.blocks, x_BTD, noise, remat=self._remat))
        )
        return self.head(x_BTD.mean(1) if self.token is None else x_BTD[:, 0])

    def _positions(self, x_BTD: jax.Array) -> jax.Array:
        if self.positions is not None:
            return self.positions.embedding[...]
        table_TD = jnp.asarray(grid_embedding(*self._grid, x_BTD.shape[-1]), x_BTD.dtype)
        # The class token has no position.
        return table_TD if self.token is None else jnp.pad(table_TD, ((1, 0), (0, 0)))


@functools.cache
def grid_embedding(rows: int, columns: int, width: int) -> np.ndarray:
    """Returns two-dimensional positions `[rows * columns, width]` (Chen et al. 2021, MoCo v3).

    A quarter each is sin(x f), cos(x f), sin(y f), cos(y f), the frequencies f from 1 to 1/10,000.
    """
    frequency = 10_000.0 ** -np.linspace(0, 1, width // 4)
    y, x = np.mgrid[:rows, :columns].reshape(2, -1, 1) * frequency
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1)


def _check(height: int, image_width: int, patch: int, width: int, heads: int, kind: str) -> None:
    if height % patch or image_width % patch:
        raise UserError(
            f"model.patch = {patch} does not tile an image of {height} x {image_width} pixels"
        )
    if width % heads:
        raise UserError(f"model.width = {width} is no multiple of model.heads = {heads}")
    if kind == "sincos" and width % 4:
        raise UserError(f"model.positions = 'sincos' needs a multiple of 4, got width = {width}")
