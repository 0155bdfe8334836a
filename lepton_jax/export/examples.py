"""The examples that a bundle holds, with the answers that a verifier compares."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from lepton_jax.export.exportable import Exportable

EXAMPLES = 16

EXAMPLES_FILE = "examples/examples.safetensors"
"""Holds `inputs.NAME`, the answers `outputs.NAME` and what is known of the truth, `truth.NAME`."""


def choose_examples(model: Exportable) -> tuple[str, np.ndarray, Mapping[str, Any]]:
    """Returns a split's name, indices of examples spread evenly over it, and its columns.

    It is the test split, or the training split of data without one. A model whose only input is a
    seed needs no data: there is no truth to compare its answers with.
    """
    if model.input_fields.keys() == {"seed"}:
        return "", np.arange(EXAMPLES), {"seed": np.arange(EXAMPLES, dtype=np.uint32)}
    name = "test" if "test" in model.splits else "train"
    split = model.splits[name]
    count = min(EXAMPLES, len(split))
    return name, np.linspace(0, len(split) - 1, count).astype(np.int64), split.columns


def example_images(images: np.ndarray) -> dict[str, bytes]:
    """Returns images uint8 [E, H, W, C] as PNG files by name."""
    from PIL import Image

    files = {}
    for i, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
        files[f"examples/{i:02d}.png"] = buffer.getvalue()
    return files


def example_texts(model: Exportable, split: str, index: np.ndarray) -> list[dict[str, Any]]:
    """Returns the texts of examples of a split, and the tokens that were made of each."""
    assert model.texts is not None
    return [model.texts.example(split, model.splits[split], i) for i in index.tolist()]
