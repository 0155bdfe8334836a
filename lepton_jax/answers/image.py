"""Answers that are pictures."""

from lepton_jax.answers.numbers import NumbersKind


class ImageKind(NumbersKind):
    """`image` uint8 [B, H, W, C]: drawn in the terminal, as numbers are where one is a picture."""

    outputs = ("image",)
