"""Draws training examples as they come and as steps see them, in one picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config.config import Config
from lepton_jax.config.user_code import keeping_tracebacks
from lepton_jax.errors import UserError
from lepton_jax.nn.batch import training_batch
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.plots.figures import name_classes
from lepton_jax.plots.grids import Tile, draw_captioned_grid
from lepton_jax.training import build
from lepton_jax.training.feed import build_order
from lepton_jax.training.load_data import load_data
from lepton_jax.training.runtime import runtime


def draw_augmentations(config: Config, path: str, examples: int, draws: int) -> str:
    """Draws the first `examples` of the run's first batch, and what `draws` steps make of each.

    The picture at `path` has a row an example; its first column shows the example as it came.

    Returns:
      The pipeline that they went through; '' where there is none.

    Raises:
      UserError: when the data has no images, or the batch not as many examples.
    """
    if not 1 <= examples <= config.batch_size:
        raise UserError(
            f"--examples={examples}: expected 1 to {config.batch_size}, config.batch_size"
        )
    with runtime(config.precision), keeping_tracebacks():
        data = load_data(config)
        program = build.build_program(config, data)
        field = data.spec.fields.get("image")
        if field is None or len(field.shape) != 3:
            raise UserError("augment draws images, and the data has no field 'image' [H, W, C]")
        train = data.splits["train"]
        index = build_order(program.config, train).indices(0)[:examples]

        def step(batch: Any, k: jax.Array) -> Any:
            noise = Noise(example_keys(jnp.uint32(config.seed), k, batch["position"]))
            return program.parts.augment(program.training.hyper(), training_batch(batch), noise)

        step = jax.jit(step)
        columns = [train.rows(index)]
        for k in range(draws):
            raw = train.training_rows(index, np.full(examples, k), config.seed)
            position = np.arange(examples, dtype=np.int32)
            columns.append(jax.device_get(step({**raw, "position": position}, jnp.int32(k))))
    names = name_classes(data.spec.classes)
    tiles = [
        Tile(_to_uint8(c["image"][i]), _caption(c, i, names))
        for i in range(examples)
        for c in columns
    ]
    heads = ["as it comes", *(f"step {k + 1}" for k in range(draws))]
    draw_captioned_grid(tiles, len(columns), path, heads=heads)
    return "|".join(str(p) for p in (config.data.train_decode, config.data.augment) if p)


def _caption(batch: Mapping[str, np.ndarray], i: int, classes: Sequence[str]) -> str:
    """Returns the classes that an image shows, and how much of each where they are mixed."""
    if "label" not in batch or not classes:
        return ""
    if "mixed_share" not in batch:
        return classes[int(batch["label"][i])]
    shares: dict[str, float] = {}
    for k, share in zip(batch["mixed_label"][i], batch["mixed_share"][i], strict=True):
        shares[classes[int(k)]] = shares.get(classes[int(k)], 0.0) + float(share)
    return "\n".join(f"{name} {share:.2f}" for name, share in shares.items() if share > 0.005)


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Returns an image as uint8; a floating one is scaled from the range it has."""
    if image.dtype == np.uint8:
        return image
    image = np.asarray(image, np.float32)
    low, high = float(image.min()), float(image.max())
    return np.round((image - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
