"""Texts cut to about their own length, for a program that takes texts of any.

A text is padded to a power of two times the least length that the program takes. The last bits of
an answer may depend on how far its text is padded: so that depends on the text alone, and not on
what stands beside it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Inputs = Mapping[str, np.ndarray]
"""Examples, [B, ...] by field."""


def group_by_length(
    signature: Mapping[str, Any], program: Mapping[str, Any], inputs: Inputs
) -> list[tuple[np.ndarray, Inputs]]:
    """Groups examples whose texts are cut to one length.

    Args:
      program: what the signature says of the program.

    Returns:
      For each length the places [b] of examples among `inputs`, and their inputs, with tokens
      `[b, length]`. All examples as they are, where the program takes one length alone.
    """
    fields, least = _fields(signature), _least_length(program)
    count = len(next(iter(inputs.values())))
    if not least or "length" not in fields:
        return [(np.arange(count), inputs)]
    size = int(signature["text"]["size"])
    lengths = [n for k in range(size.bit_length()) if (n := least << k) < size] + [size]
    # The first of the lengths in which the text has room.
    chosen_B = np.searchsorted(lengths, inputs[fields["length"]]).clip(max=len(lengths) - 1)
    groups: list[tuple[np.ndarray, Inputs]] = []
    for i in np.unique(chosen_B):
        places = np.flatnonzero(chosen_B == i)
        rows = {name: x[places] for name, x in inputs.items()}
        groups.append((places, shorten_texts(signature, rows, lengths[i])))
    return groups


def shorten_texts(
    signature: Mapping[str, Any], inputs: Inputs, length: int
) -> dict[str, np.ndarray]:
    """Cuts what has a place for each token to so many places."""
    long = {field for part, field in _fields(signature).items() if part != "length"}
    return {name: x[:, :length] if name in long else x for name, x in inputs.items()}


def _fields(signature: Mapping[str, Any]) -> Mapping[str, str]:
    return (signature.get("text") or {}).get("inputs", {})


def _least_length(program: Mapping[str, Any]) -> int:
    """Returns the least length of a text that a program takes; 0 where it takes one alone."""
    said = program.get("length")
    least = said.get("least") if isinstance(said, Mapping) else 0
    return least if type(least) is int and least > 0 else 0
