"""Host transforms: they make raw examples of one shape, before a batch is put together.

A host transform is `(element, *, keys...) -> element`. It draws nothing, and most work on
`element['image']` uint8 [H, W, C]. A transform `(element, draws, *, keys...) -> element` draws anew
for every example and epoch; it belongs in `data.train_decode` alone. NumPy and Pillow only.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

import numpy as np

from lepton_jax.boxes.geometry import move_box_fields
from lepton_jax.config.components import resolve_component
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import PositiveInt
from lepton_jax.errors import UserError, describe_value

Element = dict[str, Any]
"""One raw example: arrays (images `[H, W, C]` may vary in size), numbers, or text as bytes."""

TRIES = 10


class Draws:
    """Random numbers of one example in one epoch: `draws()` returns the next, uniform in [0, 1).

    The numbers are a function of (seed, epoch, example) and of nothing else. NumPy promises the raw
    bits of Philox for all time. The second word of the counter is the example's own, and the third
    is 1, so that none of these bits are those that order the epoch (`data/order.py`).
    """

    def __init__(self, seed: int, epoch: int, example: int):
        key = np.array([seed, epoch], np.uint64)
        counter = np.array([0, example, 1, 0], np.uint64)
        self._bits = np.random.Philox(key=key, counter=counter)

    def __call__(self) -> float:
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Returns the next number, uniform in [low, high)."""
        return low + (high - low) * self()


class ElementTransform(Protocol):
    """Host transforms, one after the other. `draws` is None where none of them draws."""

    def __call__(self, element: Element, draws: Draws | None = None, /) -> Element: ...


def build_pipeline(pipeline: Pipeline, key: str = "data.decode") -> ElementTransform:
    """Builds a function that runs host transforms one after the other.

    `key` is the key of the config that holds `pipeline`.

    Raises:
      UserError: when a transform draws where `key` allows no chance.
    """
    transforms = [(t, _takes_draws(t.name)) for t in pipeline]
    drawing = [t.name for t, takes_draws in transforms if takes_draws]
    if drawing and key != "data.train_decode":
        raise UserError(
            f"{key} = {str(pipeline)!r}: {drawing[0]} draws random numbers, but {key} runs "
            "only once; it belongs in data.train_decode, which runs in every epoch"
        )

    def apply(element: Element, draws: Draws | None = None, /) -> Element:
        _check_element(element, "the split")
        for transform, takes_draws in transforms:
            if ":" in transform.name:  # one of the user's may write into what it is given
                element = {
                    name: value.copy() if isinstance(value, np.ndarray) else value
                    for name, value in element.items()
                }
            arguments: tuple[Any, ...] = (element, draws) if takes_draws else (element,)
            element = transform.build(*arguments)
            _check_element(element, f"host transform {transform.name}")
        return element

    return apply


def _check_element(element: Any, who: str) -> None:
    if not isinstance(element, Mapping):
        raise UserError(f"{who} returned {describe_value(element)}; expected a dict of fields")


def _takes_draws(name: str) -> bool:
    return "draws" in inspect.signature(resolve_component("host transform", name)).parameters


def image_of(element: Element) -> np.ndarray:
    """Returns the image uint8 [H, W, C] of an example.

    Raises:
      UserError: when the example has no such image.
    """
    image = np.asarray(element.get("image"))
    if image.dtype != np.uint8 or image.ndim != 3:
        there = f"{image.dtype} {list(image.shape)}"
        if "image" not in element:
            there = f"none; it has {', '.join(sorted(element))}"
        raise UserError(f"host transforms expect a field 'image' uint8 [H, W, C], got {there}")
    return image


# Size and place.


def resize(element: Element, *, height: PositiveInt, width: PositiveInt | None = None) -> Element:
    """Resizes to `height` x `width`, bilinear with antialiasing.

    Keys:
      height: the height in pixels.
      width: the width in pixels; None: as `height`.
    """
    image = image_of(element)
    size = (height if width is None else width, height)
    if size == image.shape[1::-1]:
        return element
    return {**element, "image": resample(image, size)}


def resize_shorter(element: Element, *, size: PositiveInt) -> Element:
    """Resizes the shorter side to `size`, the longer in proportion, bilinear with antialiasing.

    Keys:
      size: the shorter side in pixels.
    """
    height, width = image_of(element).shape[:2]
    shorter = min(height, width)
    return resize(
        element, height=round(height * size / shorter), width=round(width * size / shorter)
    )


def resample(
    image: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """Resizes an image [H, W, C], or a `box` (left, top, right, bottom) of it, to `size` (width,
    height), bilinear with antialiasing.
    """
    from PIL import Image

    # Channel by channel: any number of channels, and the same numbers as Pillow's own modes.
    parts = [image] if image.shape[-1] == 3 else [image[..., c] for c in range(image.shape[-1])]
    resized = [
        np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR, box=box))
        for p in parts
    ]
    return resized[0] if len(parts) == 1 and resized[0].ndim == 3 else np.stack(resized, axis=-1)


def center_crop(
    element: Element, *, height: PositiveInt, width: PositiveInt | None = None
) -> Element:
    """Cuts the middle `height` x `width` out of the image, and moves its boxes with it.

    Keys:
      height: the height in pixels.
      width: the width in pixels; None: as `height`.

    Raises:
      UserError: when the image is smaller than that.
    """
    image = image_of(element)
    width = height if width is None else width
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if min(top, left) < 0:
        raise UserError(f"center_crop({height}, {width}): the image is only {image.shape}")
    crop = image[top : top + height, left : left + width]
    return {**element, "image": crop, **_boxes_in_crop(element, (top, left), (height, width))}


def random_resized_crop(
    element: Element,
    draws: Draws,
    *,
    height: PositiveInt,
    width: PositiveInt | None = None,
    smallest: Annotated[float, "in [0, 1)"] = 0.08,
    aspect: Annotated[float, ">= 1"] = 4 / 3,
) -> Element:
    """Cuts a random box out of the image and resizes it to exactly `height` x `width`, bilinear
    with antialiasing.

    The box has a share of the image's area between `smallest` and 1, uniformly. Its ratio of width
    to height lies between 1 / `aspect` and `aspect`, uniformly in its logarithm (Szegedy et al.
    2015).

    Keys:
      height: the height in pixels.
      width: the width in pixels; None: as `height`.
      smallest: the smallest share of the image's area.
      aspect: the largest ratio of the box's width to its height, and of its height to its width.
    """
    image = image_of(element)
    left, top, right, bottom = draw_crop(draws, image.shape[0], image.shape[1], smallest, aspect)
    size = (height if width is None else width, height)
    crop = np.ascontiguousarray(resample(image, size, (left, top, right, bottom)))
    boxes = _boxes_in_crop(element, (top, left), (bottom - top, right - left))
    return {**element, "image": crop, **boxes}


def draw_crop(
    draws: Draws, height: int, width: int, smallest: float, aspect: float
) -> tuple[int, int, int, int]:
    """Draws a box inside an image of `height` x `width`: left, top, right and bottom, in pixels.

    Where none of `TRIES` boxes fits into the image, it is the largest box in the middle of the
    image with an allowed ratio.
    """
    for _ in range(TRIES):
        area = height * width * draws.between(smallest, 1.0)
        ratio = math.exp(draws.between(-math.log(aspect), math.log(aspect)))
        w, h = max(1, round(math.sqrt(area * ratio))), max(1, round(math.sqrt(area / ratio)))
        if w <= width and h <= height:
            left, top = int(draws() * (width - w + 1)), int(draws() * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * aspect)), min(height, round(width * aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _boxes_in_crop(
    element: Element, corner: tuple[int, int], size: tuple[int, int]
) -> dict[str, Any]:
    """Returns the fields of an example's boxes after its image was cut to `size` (height, width)
    from the `corner` (top, left) on; none where the example has no boxes.
    """
    inside = np.array(size)
    scale, offset = np.array(image_of(element).shape[:2]) / inside, -np.array(corner) / inside
    return move_box_fields(element, scale, offset)


# Channels.


def grayscale(element: Element) -> Element:
    """Makes one channel: luma as ITU-R BT.601 weighs red, green and blue."""
    from PIL import Image

    image = image_of(element)
    if image.shape[-1] == 1:
        return element
    rgb_HWC = image_of(rgb(element))
    return {**element, "image": np.asarray(Image.fromarray(rgb_HWC).convert("L"))[..., None]}


def rgb(element: Element) -> Element:
    """Makes three channels: grey is repeated, transparency dropped."""
    image = image_of(element)
    if image.shape[-1] in (1, 2):
        return {**element, "image": np.repeat(image[..., :1], 3, axis=-1)}
    return {**element, "image": np.ascontiguousarray(image[..., :3])}


# Boxes: [N, 4], (ymin, xmin, ymax, xmax) in [0, 1]; see `boxes/check.py`.


def pad_boxes(element: Element, *, most: PositiveInt) -> Element:
    """Pads the objects of an example to `most`: `boxes` with zeros, `labels` with -1.

    They are taken from fields of these names, or from TFDS's `objects/bbox` and `objects/label`.

    Keys:
      most: the number of objects that there is room for.

    Raises:
      UserError: when there are no such fields, or more boxes than `most`.
    """
    element = dict(element)
    for name, theirs in (("boxes", "objects/bbox"), ("labels", "objects/label")):
        if theirs in element:
            element[name] = element.pop(theirs)
        if name not in element:
            raise UserError(
                "pad_boxes expects the fields 'boxes' and 'labels', or 'objects/bbox' and "
                f"'objects/label'; there are: {', '.join(element)}"
            )
    boxes = np.asarray(element["boxes"], np.float32).reshape(-1, 4)
    labels = np.asarray(element["labels"], np.int32)
    if labels.shape != (len(boxes),):
        raise UserError(f"{len(boxes)} boxes, and labels of the shape {list(labels.shape)}")
    if len(boxes) > most:
        raise UserError(f"{len(boxes)} boxes; give pad_boxes({len(boxes)}) or more")
    padding = most - len(boxes)
    element["boxes"] = np.pad(boxes, ((0, padding), (0, 0)))
    element["labels"] = np.pad(labels, (0, padding), constant_values=-1)
    return element


def drop_empty_boxes(element: Element) -> Element:
    """Turns every box of no area into padding. Its place is after `pad_boxes`.

    Raises:
      UserError: when the example has no boxes yet.
    """
    if "boxes" not in element:
        raise UserError("drop_empty_boxes expects boxes: put it after pad_boxes(...)")
    boxes = element["boxes"]
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return {
        **element,
        "boxes": np.where(has_area[:, None], boxes, np.float32(0)),
        "labels": np.where(has_area, element["labels"], np.int32(-1)),
    }
