"""Fake data that can be learned: for recipes that are only tried out, at any size, and for tests.

Everything is made on access, always the same: a data set of any size costs nothing until it is
read.
"""

from dataclasses import dataclass

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, Made, Source
from lepton_jax.data.text.vocabulary import Vocabulary
from lepton_jax.errors import UserError

_BLOCK = 32
"""Bytes that Philox makes at once."""

BITS_PER_TOKEN = 1.75
"""The entropy of every token of `generated_tokens` given the one before."""

# Which of its four successors a token gets, by three random bits: with probabilities 1/2, 1/4,
# 1/8, 1/8.
_SUCCESSOR = np.array([0, 0, 0, 0, 1, 1, 2, 3])


def generated_images(
    *,
    size: tuple[int, int, int] = (8, 8, 1),
    classes: int = 10,
    examples: int = 512,
    test_examples: PositiveInt | None = None,
) -> Source:
    """`image` uint8 [H, W, C] = a pattern of its class plus noise, `label` int32.

    `examples` are for training; `test_examples`, a fourth as many by default, are the test.
    """
    if min(*size, classes, examples) < 1:
        raise UserError(
            "generated_images: expected positive numbers, got "
            f"size={size}, classes={classes}, examples={examples}"
        )
    tests = test_examples or max(1, examples // 4)
    return Source(
        splits={
            "train": _images(_Images(size, classes, key=2), examples),
            "test": _images(_Images(size, classes, key=3), tests),
        },
        classes=tuple(str(i) for i in range(classes)),
        fingerprint=f"generated_images 1 {tuple(size)} {classes} {examples} {tests}",
        description=f"generated images, {classes} patterns with noise",
    )


def generated_tokens(
    *,
    vocabulary: int = 64,
    length: PositiveInt = 32,
    examples: PositiveInt = 4096,
    test_examples: PositiveInt | None = None,
    shortest: PositiveInt | None = None,
) -> Source:
    """`tokens` int32 [length + 1], sequences of one random Markov chain.

    Each token is followed by one of four, with probabilities 1/2, 1/4, 1/8 and 1/8: whatever the
    vocabulary, no model does better than `BITS_PER_TOKEN`. Each token is as frequent as another.

    Other arguments:
      shortest: a field `length` int32 [] says how many tokens of each sequence count, from
        `shortest` + 1 to all of them.

    Raises:
      UserError: for fewer than 4 tokens, or a `shortest` above `length`.
    """
    if vocabulary < 4 or (shortest or 1) > length:
        raise UserError(
            "generated_tokens: expected vocabulary >= 4 and shortest <= length, got "
            f"vocabulary={vocabulary}, shortest={shortest}, length={length}"
        )
    tests = test_examples or max(1, examples // 4)
    shape = f"{vocabulary} {length} {examples} {tests} {shortest}"
    return Source(
        splits={
            "train": _sequences(vocabulary, length, shortest, examples, key=5),
            "test": _sequences(vocabulary, length, shortest, tests, key=6),
        },
        classes=(),
        fingerprint=f"generated_tokens 1 {shape}",
        description=f"generated tokens, a Markov chain over {vocabulary}",
        vocabulary=Vocabulary(tuple(str(i) for i in range(vocabulary))),
    )


@dataclass(frozen=True)
class _Images:
    """int64 [n] -> uint8 [n, H, W, C]."""

    size: tuple[int, int, int]
    classes: int
    key: int

    def __call__(self, index: np.ndarray) -> np.ndarray:
        count = int(np.prod(self.size))
        images = np.empty((len(index), count), np.uint8)
        for row, i in zip(images, index.tolist(), strict=True):
            pattern = random_bytes(1, i % self.classes * count, count)
            row[:] = (pattern.astype(np.uint16) + random_bytes(self.key, i * count, count)) // 2
        return images.reshape(-1, *self.size)


def _images(make: _Images, examples: int) -> Columns:
    index = np.arange(examples)
    label = (index % make.classes).astype(np.int32)
    return Columns(
        {"image": Made(make, index, tuple(make.size), np.dtype(np.uint8)), "label": label}
    )


@dataclass(frozen=True)
class _Sequences:
    """int64 [n] -> int32 [n, length + 1]."""

    vocabulary: int
    length: int
    key: int

    def __call__(self, index: np.ndarray) -> np.ndarray:
        # Eight bytes choose the first token, then one byte each of the others.
        size = 8 + self.length
        drawn = np.stack([random_bytes(self.key, i * size, size) for i in index.tolist()])
        start = np.ascontiguousarray(drawn[:, :8]).view("<u8")[:, 0]
        choice = _SUCCESSOR[drawn[:, 8:] % 8]
        follows = successors(self.vocabulary)
        tokens = np.empty((len(index), self.length + 1), np.int32)
        tokens[:, 0] = start % np.uint64(self.vocabulary)
        for t in range(self.length):
            tokens[:, t + 1] = follows[tokens[:, t], choice[:, t]]
        return tokens


def _sequences(
    vocabulary: int, length: int, shortest: int | None, examples: int, key: int
) -> Columns:
    make = _Sequences(vocabulary, length, key)
    tokens = Made(make, np.arange(examples), (length + 1,), np.dtype(np.int32))
    if shortest is None:
        return Columns({"tokens": tokens})
    drawn = random_bytes(key + 10, 0, 4 * examples).view("<u4")
    counted = (shortest + 1 + drawn % (length - shortest + 1)).astype(np.int32)
    return Columns({"tokens": tokens, "length": counted})


def successors(vocabulary: int) -> np.ndarray:
    """The tokens that may follow each, int64 [V, 4], the likeliest first.

    All four are a permutation of the tokens shifted, so that none repeats in a row and the
    uniform distribution is stationary.
    """
    order = np.argsort(random_bytes(4, 0, 8 * vocabulary).view("<u8"), kind="stable")
    return (order[:, None] + np.arange(4)) % vocabulary


def random_bytes(key: int, start: int, count: int) -> np.ndarray:
    """uint8 [count] from place `start` on of an endless random sequence; each `key` has its own."""
    skipped, first = divmod(start, _BLOCK)
    bits = np.random.Philox(key=key)
    bits.advance(skipped)
    raw = bits.random_raw(-(-(first + count) // 8))
    return raw.astype("<u8").view(np.uint8)[first : first + count]
