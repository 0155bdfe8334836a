"""Raw examples through a host pipeline, each checked: it is what the first one is, and in range."""

from typing import Any

import numpy as np

from lepton_jax.data.draws import Draws
from lepton_jax.data.source import Split, numeric, origin
from lepton_jax.errors import UserError
from lepton_jax.transforms import host


class Decoder:
    """`decoder(i)` -> the numeric fields of example i after the pipeline.

    Main arguments:
      name: of the split, for messages.
      text: the pipeline.
    Other arguments:
      key: of the config that holds the pipeline.
    """

    def __init__(self, split: Split, name: str, text: str, *, key: str = "data.decode"):
        self._split, self._name, self._key = split, name, key
        self._transform = host.pipeline(text, key)
        self._first: dict[str, np.ndarray] | None = None

    def __call__(self, i: int, draws: Draws | None = None) -> dict[str, np.ndarray]:
        """Raises `UserError`, naming the example, when it is unreadable or of another kind."""
        try:
            element = self._transform(self._split[i], draws)
        except (UserError, OSError) as e:
            raise UserError(f"split {self._name!r}, example {i}: {e}") from e
        found = some(numeric(element), self._name)
        if self._first is None:
            self._first = {k: np.empty(v.shape, v.dtype) for k, v in found.items()}
        self._check(found, i)
        return found

    def _check(self, example: dict[str, np.ndarray], i: int) -> None:
        assert self._first is not None
        if self._first.keys() == example.keys() and all(
            example[k].shape == v.shape and example[k].dtype == v.dtype
            for k, v in self._first.items()
        ):
            return
        where = place(self._split, self._name, i)
        if self._first.keys() != example.keys():
            raise UserError(
                f"{where}: has fields {sorted(example)}, the first one {sorted(self._first)}"
            )
        for field, array in example.items():
            wanted = self._first[field]
            if array.shape == wanted.shape and array.dtype == wanted.dtype:
                continue
            cure = (
                f"{self._key}='resize(...)' makes one size of them, 'rgb' or 'grayscale' one depth"
                if field == "image"
                else f"a host transform of your own in {self._key} can pad or drop it"
            )
            raise UserError(
                f"{where}: {field!r} is {array.dtype} {list(array.shape)}, the first one "
                f"{wanted.dtype} {list(wanted.shape)}; {cure}"
            )


def place(split: Split, name: str, i: int) -> str:
    """Where an example is to be found: `split 'train', example 7 (cat/3.png)`."""
    file = origin(split, i)
    return f"split {name!r}, example {i}" + (f" ({file})" if file else "")


def some(fields: dict[str, Any], split: str) -> dict[str, Any]:
    """The fields. Raises `UserError` when there is none."""
    if not fields:
        raise UserError(
            f"split {split!r} has no numeric field; text needs a host transform of your own in "
            "data.decode ('my_pkg.module:Name') that turns it into numbers"
        )
    return fields
