"""Answers a request by the version that its key stands for, and compares a canary with it."""

import asyncio
from collections.abc import Mapping

import numpy as np

from ..batches.sizes import Arrays
from ..errors import BundleError
from .models import Models
from .served import ServedAnswer, ServedModel

CLOSE = 0.01
"""Floats this near are the same answer, where an answer has no whole numbers."""


async def answer_by(
    models: Models,
    name: str,
    inputs: Mapping[str, np.ndarray],
    *,
    key: str = "",
    version: str = "",
    deadline: float | None = None,
) -> tuple[ServedModel, ServedAnswer]:
    """Answers by a version of a model; returns which one it was too.

    What a canary answers is compared with the main version's answer; where it fails, the main
    version's is sent.

    Raises:
      UnknownModel: when there is no such model or version.
      InputError, QueueFull, TooLate, BundleError: as `ServedModel.answer`.
    """
    served = models.find(name, key, version)
    canary = models.canary(name)
    if canary is None or served is not canary.served or version:
        return served, await served.answer(inputs, deadline)
    main = models.versions(name)[0]
    served.bundle.check(inputs)
    own, other = await asyncio.gather(
        served.answer(inputs, deadline), main.answer(inputs, deadline), return_exceptions=True
    )
    if isinstance(other, BaseException):  # nothing to compare with
        if isinstance(own, BaseException):
            raise other
        return served, own
    failed = isinstance(own, BundleError)
    if isinstance(own, BaseException):
        ended = canary.note(failed, 0, 0) if failed else ""
        served, own = main, other
    else:
        different = find_different(own.outputs, other.outputs)
        ended = canary.note(False, len(different), int(different.sum()))
    if ended:
        models.end_canary(name, ended)
    return served, own


def find_different(one: Arrays, other: Arrays) -> np.ndarray:
    """Tells which rows have another answer: booleans [B].

    Whole numbers count, such as labels and tokens; where there are none, floats.
    """
    count = len(next(iter(one.values())))
    if one.keys() != other.keys() or any(one[k].shape != other[k].shape for k in one):
        return np.ones(count, bool)
    whole = [name for name, y in one.items() if y.dtype.kind in "iub"]
    different = np.zeros(count, bool)
    for name in whole or one:
        a, b = one[name].reshape(count, -1), other[name].reshape(count, -1)
        apart = a != b if whole else ~np.isclose(a, b, rtol=CLOSE, atol=CLOSE, equal_nan=True)
        different |= apart.any(-1)
    return different
