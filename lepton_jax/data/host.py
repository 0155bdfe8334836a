"""Host transforms: what makes raw examples of one shape, once, before they are cached.

Each is `(element, *, keys...) -> element`, deterministic, and works on `element['image']`
uint8 [H, W, C]. NumPy and Pillow only.
"""

from collections.abc import Callable

import numpy as np

from lepton_jax.data.source import Element
from lepton_jax.errors import UserError
from lepton_jax.validation import calls


def pipeline(decode: str) -> Callable[[Element], Element]:
    """The transforms that `decode`, e.g. `'resize(32)|rgb'`, names, one after the other.

    Raises:
      UserError: when it names none of ours or cannot be read.
    """
    try:
        transforms = calls("host transform", decode)
    except ValueError as e:
        raise UserError(f"data.decode = {decode!r}: {e}") from None

    def apply(element: Element) -> Element:
        for transform in transforms:
            element = transform.build(element)
        return element

    return apply


def resize(element: Element, *, height: int, width: int | None = None) -> Element:
    """To exactly `height` x `width` (a square without `width`), bilinear with antialiasing."""
    from PIL import Image

    image = _image(element)
    size = (height if width is None else width, height)
    if size == image.shape[1::-1]:
        return element
    # Channel by channel: any number of channels, and the same numbers as Pillow's own modes.
    resized = [
        np.asarray(Image.fromarray(image[..., c]).resize(size, Image.Resampling.BILINEAR))
        for c in range(image.shape[-1])
    ]
    return {**element, "image": np.stack(resized, axis=-1)}


def center_crop(element: Element, *, height: int, width: int | None = None) -> Element:
    """The middle `height` x `width` (a square without `width`) of the image."""
    image = _image(element)
    width = height if width is None else width
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if min(top, left) < 0:
        raise UserError(f"center_crop({height}, {width}): the image is only {image.shape}")
    return {**element, "image": image[top : top + height, left : left + width]}


def grayscale(element: Element) -> Element:
    """One channel: luma as ITU-R BT.601 weighs red, green and blue."""
    from PIL import Image

    image = _image(element)
    if image.shape[-1] == 1:
        return element
    rgb_HWC = _image(rgb(element))
    return {**element, "image": np.asarray(Image.fromarray(rgb_HWC).convert("L"))[..., None]}


def rgb(element: Element) -> Element:
    """Three channels: grey is repeated, transparency dropped."""
    image = _image(element)
    if image.shape[-1] in (1, 2):
        return {**element, "image": np.repeat(image[..., :1], 3, axis=-1)}
    return {**element, "image": np.ascontiguousarray(image[..., :3])}


def _image(element: Element) -> np.ndarray:
    image = np.asarray(element.get("image"))
    if image.dtype != np.uint8 or image.ndim != 3:
        raise UserError(
            "host transforms expect a field 'image' uint8 [H, W, C], got "
            + (f"{image.dtype} {list(image.shape)}" if "image" in element else "none")
        )
    return image
