"""Answers that are pictures."""

from lepton_jax.answers.numbers import NumbersKind


class ImageKind(NumbersKind):
    """An image: `image` uint8 [B, H, W, C], drawn in the terminal."""

    outputs = ("image",)
