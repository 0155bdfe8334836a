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

Groups = list[tuple[np.ndarray, Inputs]]
"""Examples whose texts are cut to one length: their places [b], and their inputs [b, ...]."""


def list_lengths(signature: Mapping[str, Any], program: Mapping[str, Any]) -> list[int]:
    """Lists the lengths to which texts are cut, the shortest first; [] where the program takes one
    length alone.

    Args:
      program: what the signature says of the program.
    """
    least = _least_length(program)
    if not least or "length" not in _fields(signature):
        return []
    size = int(signature["text"]["size"])
    return [n for k in range(size.bit_length()) if (n := least << k) < size] + [size]


def group_by_length(
    signature: Mapping[str, Any], program: Mapping[str, Any], inputs: Inputs
) -> Groups:
    """Groups examples whose texts are cut to one length.

    Args:
      program: what the signature says of the program.

    Returns:
      For each length the places [b] of examples among `inputs`, and their inputs, with tokens
      `[b, length]`. All examples as they are, where the program takes one length alone.
    """
    lengths = list_lengths(signature, program)
    if not lengths:
        return [(np.arange(len(next(iter(inputs.values())))), inputs)]
    length_B = inputs[_fields(signature)["length"]]
    if len(length_B) == 1:  # as most requests of a server: nothing is copied
        length = next((n for n in lengths if n >= length_B[0]), lengths[-1])
        return [(np.zeros(1, np.int64), shorten_texts(signature, inputs, length))]
    # The first of the lengths in which the text has room.
    chosen_B = np.searchsorted(lengths, length_B)
    chosen_B = chosen_B.clip(max=len(lengths) - 1)
    groups: Groups = []
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


def begin_texts(signature: Mapping[str, Any], inputs: Inputs, length: int) -> dict[str, np.ndarray]:
    """Returns the beginnings of texts, of so many tokens at most."""
    cut, field = shorten_texts(signature, inputs, length), _fields(signature)["length"]
    return {**cut, field: np.minimum(cut[field], np.asarray(length, cut[field].dtype))}


def _fields(signature: Mapping[str, Any]) -> Mapping[str, str]:
    return (signature.get("text") or {}).get("inputs", {})


def _least_length(program: Mapping[str, Any]) -> int:
    """Returns the least length of a text that a program takes; 0 where it takes one alone."""
    said = program.get("length")
    least = said.get("least") if isinstance(said, Mapping) else 0
    return least if type(least) is int and least > 0 else 0
