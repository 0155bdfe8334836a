"""How an input falls into parts that can be taken away: cells of an image, tokens, stretches."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.serving.loader import Bundle

# N inputs, P parts, M masks, T tokens or steps, H height, W width.

MOST_PARTS = 64
"""Parts of an image or of a signal, about: a part is a square of pixels, or some steps in a row."""


@dataclass(frozen=True)
class InputParts:
    """The parts of a model's input, and what stands in the place of one that is taken away."""

    field: str
    """The input that is explained; a model may have others beside it, which stay as they are."""
    shape: tuple[int, ...]
    """Of a map of the input: (H, W) of an image, (T,) of a text or of a signal."""
    numbers: np.ndarray
    """The part of each place of a map, int `[*shape]`."""
    fill: np.ndarray
    """What stands for nothing: the mean of each channel `[C]`, or a token."""
    of_text: bool = False

    @property
    def count(self) -> int:
        """The number P of parts."""
        return int(self.numbers.max()) + 1

    @property
    def grid(self) -> tuple[int, ...]:
        """How the parts lie: rows and columns, or one row."""
        last = self.numbers[tuple(size - 1 for size in self.shape)]
        columns = int(self.numbers[0, -1]) + 1 if len(self.shape) == 2 else int(last) + 1
        return (self.count // columns, columns) if len(self.shape) == 2 else (columns,)

    def sum_parts(self, maps: np.ndarray) -> np.ndarray:
        """Adds up maps `[N, *shape]` over each part: `[N, P]`."""
        flat = maps.reshape(len(maps), -1)
        return np.stack(
            [np.bincount(self.numbers.ravel(), row, self.count) for row in flat.astype(np.float64)]
        )

    def spread_parts(self, values: np.ndarray) -> np.ndarray:
        """Spreads numbers of parts `[N, P]` evenly over the places of each: maps `[N, *shape]`."""
        sizes = np.bincount(self.numbers.ravel(), minlength=self.count)
        return (values / sizes)[:, self.numbers]

    def take_away(
        self, fields: Mapping[str, np.ndarray], kept: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Makes M inputs of one, `[...]` each: the parts that `kept` bool `[M, P]` says stay."""
        stays = self._places(kept, fields[self.field])
        others = {k: np.repeat(v[None], len(kept), axis=0) for k, v in fields.items()}
        x = np.where(stays, fields[self.field], self.fill)
        return {**others, self.field: x.astype(fields[self.field].dtype)}

    def blank(self, fields: Mapping[str, np.ndarray], present: np.ndarray) -> dict[str, np.ndarray]:
        """Returns inputs `[N, ...]` with nothing in the place of every part that is `present`."""
        x = fields[self.field]
        blank = np.where(self._places(present, x[0]), self.fill, x)
        return {**fields, self.field: blank.astype(x.dtype)}

    def _places(self, chosen: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Turns a choice of parts `[M, P]` into one of the places of an input `x` [...]:
        `[M, *shape]`, with an axis of one for each axis that a map lacks.
        """
        lacking = (1,) * (x.ndim - len(self.shape))
        return chosen[:, self.numbers].reshape(len(chosen), *self.shape, *lacking)


def divide_input(bundle: Bundle, known: Mapping[str, np.ndarray]) -> InputParts:
    """Divides the input of a model into parts.

    Args:
      known: inputs of other examples, `[R, ...]` each, whose mean stands for a part of an image or
        of a signal that is taken away. In a text it is the token of unknown words.

    Raises:
      UserError: when the model reads something else than one image, signal or text.
    """
    declared, text = bundle.signature["inputs"], bundle.signature.get("text")
    if text:
        field = text["inputs"]["tokens"]
        fill = text["pad"] if text.get("unknown") is None else text["unknown"]
        length = int(text["size"])
        return InputParts(field, (length,), np.arange(length), np.asarray(fill), of_text=True)
    shapes = {name: tuple(spec["shape"]) for name, spec in declared.items()}
    field, shape = next(iter(shapes.items()))
    if len(shapes) != 1 or not 1 <= len(shape) <= 3:
        said = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise UserError(
            f"this model reads {said}; expected one image [H, W, C], one signal [T] or [T, C], or "
            "a text: explain knows the parts of those"
        )
    places = shape[:2] if len(shape) == 3 else shape[:1]
    x = known[field].astype(np.float64)
    fill = x.mean(axis=tuple(range(1 + len(places))))
    whole = np.issubdtype(known[field].dtype, np.integer)
    return InputParts(field, places, _number_parts(places), np.rint(fill) if whole else fill)


def _number_parts(places: tuple[int, ...]) -> np.ndarray:
    """Numbers squares of an image, or stretches of a signal, row by row: int `[*places]`."""
    side = max(1, ceil((prod(places) / MOST_PARTS) ** (1 / len(places))))
    cells = np.indices(places) // side
    return np.ravel_multi_index(tuple(cells), tuple(int(c.max()) + 1 for c in cells))
