"""Host transforms: what makes raw examples of one shape.

Each is `(element, *, keys...) -> element`, deterministic, and works on `element['image']`
uint8 [H, W, C]. One that takes `(element, draws, *, keys...)` draws anew for every example and
epoch, and belongs in `data.train_decode` alone. NumPy and Pillow only.
"""

import inspect
from typing import Any, Protocol

import numpy as np

from lepton_jax.boxes.geometry import boxes_after
from lepton_jax.config.components import resolve_component
from lepton_jax.config.validation import parse_pipeline
from lepton_jax.data.draws import Draws
from lepton_jax.data.source import Element
from lepton_jax.errors import UserError


class ElementTransform(Protocol):
    def __call__(self, element: Element, draws: Draws | None = None, /) -> Element: ...


def pipeline(decode: str, key: str = "data.decode") -> ElementTransform:
    """The transforms that `decode`, e.g. `'resize(32)|rgb'`, names, one after the other.

    Raises:
      UserError: when it names none of ours, cannot be read, or draws where `key` allows no chance.
    """
    try:
        transforms = [(t, _draws(t.name)) for t in parse_pipeline("host transform", decode)]
    except ValueError as e:
        raise UserError(f"{key} = {decode!r}: {e}") from None
    drawing = [t.name for t, draws in transforms if draws]
    if drawing and key != "data.train_decode":
        raise UserError(
            f"{key} = {decode!r}: {drawing[0]} draws anew in every epoch, and what {key} makes is "
            "made once; it belongs in data.train_decode"
        )

    def apply(element: Element, draws: Draws | None = None, /) -> Element:
        for transform, takes_draws in transforms:
            arguments: tuple[Any, ...] = (element, draws) if takes_draws else (element,)
            element = transform.build(*arguments)
        return element

    return apply


def _draws(name: str) -> bool:
    return "draws" in inspect.signature(resolve_component("host transform", name)).parameters


def resize(element: Element, *, height: int, width: int | None = None) -> Element:
    """To exactly `height` x `width` (a square without `width`), bilinear with antialiasing."""
    image = image_of(element)
    size = (height if width is None else width, height)
    if size == image.shape[1::-1]:
        return element
    return {**element, "image": resampled(image, size)}


def resize_shorter(element: Element, *, size: int) -> Element:
    """The shorter side to `size`, the longer in proportion, bilinear with antialiasing."""
    height, width = image_of(element).shape[:2]
    shorter = min(height, width)
    return resize(
        element, height=round(height * size / shorter), width=round(width * size / shorter)
    )


def resampled(
    image: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """The image, or a box (left, top, right, bottom) of it, at `size` (width, height)."""
    from PIL import Image

    # Channel by channel: any number of channels, and the same numbers as Pillow's own modes.
    parts = [image] if image.shape[-1] == 3 else [image[..., c] for c in range(image.shape[-1])]
    resized = [
        np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR, box=box))
        for p in parts
    ]
    return resized[0] if len(parts) == 1 and resized[0].ndim == 3 else np.stack(resized, axis=-1)


def center_crop(element: Element, *, height: int, width: int | None = None) -> Element:
    """The middle `height` x `width` (a square without `width`) of the image, and its boxes."""
    image = image_of(element)
    width = height if width is None else width
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if min(top, left) < 0:
        raise UserError(f"center_crop({height}, {width}): the image is only {image.shape}")
    inside = np.array((height, width))
    scale, offset = np.array(image.shape[:2]) / inside, -np.array((top, left)) / inside
    cut = image[top : top + height, left : left + width]
    return {**element, "image": cut, **boxes_after(element, scale, offset)}


def grayscale(element: Element) -> Element:
    """One channel: luma as ITU-R BT.601 weighs red, green and blue."""
    from PIL import Image

    image = image_of(element)
    if image.shape[-1] == 1:
        return element
    rgb_HWC = image_of(rgb(element))
    return {**element, "image": np.asarray(Image.fromarray(rgb_HWC).convert("L"))[..., None]}


def rgb(element: Element) -> Element:
    """Three channels: grey is repeated, transparency dropped."""
    image = image_of(element)
    if image.shape[-1] in (1, 2):
        return {**element, "image": np.repeat(image[..., :1], 3, axis=-1)}
    return {**element, "image": np.ascontiguousarray(image[..., :3])}


def image_of(element: Element) -> np.ndarray:
    image = np.asarray(element.get("image"))
    if image.dtype != np.uint8 or image.ndim != 3:
        raise UserError(
            "host transforms expect a field 'image' uint8 [H, W, C], got "
            + (f"{image.dtype} {list(image.shape)}" if "image" in element else "none")
        )
    return image
