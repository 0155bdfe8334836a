"""Reading with a cache: a program that reads a prompt, and one that takes a token of each text."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import UNREADABLE, BundleError
from .files import WEIGHTS
from .programs import Answer, call_stablehlo, open_onnx, put_weights

# B batch, V vocabulary.

Cache = dict[str, Any]
"""The arrays of a cache by name, `[B, ...]`."""

_TRIED = 4
"""Examples, at most, by which the programs are compared with the model."""


class CachedPrograms:
    """The programs 'stablehlo' or 'onnx' by which a language model goes on with a cache.

    `context` is the most tokens that a cache holds; None for as many as there are.
    `compiles_lengths`: whether a prompt of another length is another program to compile.
    """

    def __init__(self, folder: str | os.PathLike[str], signature: Mapping[str, Any], program: str):
        """Opens them. `has_cached` tells whether there are any.

        Raises:
          BundleError: when there are none, or they cannot be read.
        """
        try:
            said = signature["cached"]
            self.context: int | None = said["context"]
            if self.context is not None and type(self.context) is not int:
                raise TypeError("context: no number of tokens")
            self.compiles_lengths = program == "stablehlo"
            self._names = list(said["cache"])
            self._prefill, self._step = self._open(folder, said["programs"][program], program)
        except UNREADABLE as e:
            said = f"{type(e).__name__}: {e!s:.80}"
            raise BundleError(f"it has no programs with a cache ({said})") from None

    def _open(
        self, folder: str | os.PathLike[str], programs: Mapping[str, Any], program: str
    ) -> tuple[Answer, Answer]:
        prefill, step = programs["prefill"], programs["step"]
        if program == "onnx":
            return open_onnx(folder, prefill), open_onnx(folder, step)
        weights = put_weights(folder, WEIGHTS, bool(prefill.get("x64")))
        return (
            call_stablehlo(folder, prefill, weights),
            call_stablehlo(folder, step, weights, used_up=self._names),
        )

    def prefill(self, tokens: Sequence[int]) -> tuple[Any, Cache]:
        """Reads a text of one token or more; returns logits [1, V] and its cache."""
        return self._split(self._prefill({"tokens": np.asarray([tokens], np.int32)}))

    def step(self, tokens: Sequence[int], cache: Cache) -> tuple[Any, Cache]:
        """Reads one more token of each of B texts; returns logits [B, V] and the new cache.

        The old cache is used up.
        """
        return self._split(self._step({"tokens": np.asarray(tokens, np.int32)[:, None], **cache}))

    def probabilities(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """Returns the probabilities float32 [B, V] of the token after each of B texts, of two
        tokens or more: the last one is read with the cache of those before, of all texts at once.
        """
        caches = [self.prefill(row[:-1])[1] for row in rows]
        logits_BV, _ = self.step([row[-1] for row in rows], stack_caches(caches))
        wide_BV = np.asarray(logits_BV, np.float64)
        power_BV = np.exp(wide_BV - wide_BV.max(-1, keepdims=True))
        return (power_BV / power_BV.sum(-1, keepdims=True)).astype(np.float32)

    def _split(self, outputs: Mapping[str, Any]) -> tuple[Any, Cache]:
        try:
            return outputs["logits"], {name: outputs[name] for name in self._names}
        except KeyError as e:
            raise BundleError(f"a program with a cache does not return {e!s:.80}") from None


def has_cached(signature: Mapping[str, Any], program: str) -> bool:
    """Tells whether a bundle has programs with a cache of a kind."""
    try:
        return "step" in signature["cached"]["programs"][program]
    except UNREADABLE:
        return False


def stack_caches(caches: Sequence[Cache]) -> Cache:
    """Returns the cache of several texts, one after the other, of which each has one."""
    return {k: np.concatenate([np.asarray(c[k]) for c in caches]) for k in caches[0]}


def cached_rows(
    signature: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> tuple[list[int], list[list[int]]]:
    """Returns a few examples of two tokens or more: their places, and the tokens before the one
    that each asks for.
    """
    fields = signature["text"]["inputs"]
    tokens = inputs[fields["tokens"]]
    whole = np.full(len(tokens), tokens.shape[1])
    counts = inputs[fields["length"]] if "length" in fields else whole
    places = [i for i, n in enumerate(counts.tolist()) if n > 2][:_TRIED]
    return places, [tokens[i, : counts[i] - 1].tolist() for i in places]
