"""Fake data that can be learned: images, tokens, objects and texts, of any size, for trying out
recipes and for tests.

The same arguments always give the same data. Images and tokens are made when they are read, so that
a data set of any size costs nothing until then.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, LazyColumn, Source
from lepton_jax.data.spec import Vocabulary
from lepton_jax.errors import UserError
from lepton_jax.transforms.host import Element

_BLOCK = 32
"""Bytes that Philox makes at once."""


def random_bytes(key: int, start: int, count: int) -> np.ndarray:
    """Returns uint8 [count] from place `start` on of an endless random sequence, one a `key`."""
    skipped, first = divmod(start, _BLOCK)
    bits = np.random.Philox(key=key)
    bits.advance(skipped)
    raw = bits.random_raw(-(-(first + count) // 8))
    return raw.astype("<u8").view(np.uint8)[first : first + count]


# Images of classes. H height, W width, C channels.


def generated_images(
    *,
    size: tuple[PositiveInt, PositiveInt, PositiveInt] = (8, 8, 1),
    classes: PositiveInt = 10,
    examples: PositiveInt = 512,
    test_examples: PositiveInt | None = None,
) -> Source:
    """Makes `image` uint8 [H, W, C], a pattern of its class plus noise, and `label` int32.

    Keys:
      size: (H, W, C).
      classes: the number of classes.
      examples: the examples of 'train'.
      test_examples: the examples of 'test'; None: a fourth of `examples`.
    """
    tests = test_examples or max(1, examples // 4)
    return Source(
        splits={
            "train": _pattern_columns(_PatternImages(size, classes, key=2), examples),
            "test": _pattern_columns(_PatternImages(size, classes, key=3), tests),
        },
        classes=tuple(str(i) for i in range(classes)),
        fingerprint=f"generated_images 1 {tuple(size)} {classes} {examples} {tests}",
        description=f"generated images, {classes} patterns with noise",
    )


@dataclass(frozen=True)
class _PatternImages:
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


def _pattern_columns(make: _PatternImages, examples: int) -> Columns:
    index = np.arange(examples)
    label = (index % make.classes).astype(np.int32)
    image = LazyColumn(make, index, tuple(make.size), np.dtype(np.uint8))
    return Columns({"image": image, "label": label})


# Tokens of a Markov chain. V tokens in the vocabulary.

BITS_PER_TOKEN = 1.75
"""The entropy of every token of `generated_tokens` given the one before."""

# Which of its four successors a token gets, by three random bits: with probabilities 1/2, 1/4,
# 1/8, 1/8.
_SUCCESSOR = np.array([0, 0, 0, 0, 1, 1, 2, 3])


def generated_tokens(
    *,
    vocabulary: PositiveInt = 64,
    length: PositiveInt = 32,
    examples: PositiveInt = 4096,
    test_examples: PositiveInt | None = None,
    shortest: PositiveInt | None = None,
) -> Source:
    """Makes `tokens` int32 [length + 1], sequences of one random Markov chain.

    Each token is followed by one of four, with probabilities 1/2, 1/4, 1/8 and 1/8: whatever the
    vocabulary, no model does better than `BITS_PER_TOKEN`. Each token is as frequent as another.

    Keys:
      vocabulary: the number of different tokens, at least 4.
      length: the tokens to predict in a sequence.
      examples: the examples of 'train'.
      test_examples: the examples of 'test'; None: a fourth of `examples`.
      shortest: the least tokens that count: a field `length` int32 [] says how many of each
        sequence do, from `shortest` + 1 to all of them; None: all count, and there is no such
        field.

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
            "train": _token_columns(vocabulary, length, shortest, examples, key=5),
            "test": _token_columns(vocabulary, length, shortest, tests, key=6),
        },
        classes=(),
        fingerprint=f"generated_tokens 1 {shape}",
        description=f"generated tokens, a Markov chain over {vocabulary}",
        vocabulary=Vocabulary(tuple(str(i) for i in range(vocabulary))),
    )


@dataclass(frozen=True)
class _ChainTokens:
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


def _token_columns(
    vocabulary: int, length: int, shortest: int | None, examples: int, key: int
) -> Columns:
    make = _ChainTokens(vocabulary, length, key)
    tokens = LazyColumn(make, np.arange(examples), (length + 1,), np.dtype(np.int32))
    if shortest is None:
        return Columns({"tokens": tokens})
    drawn = random_bytes(key + 10, 0, 4 * examples).view("<u4")
    counted = (shortest + 1 + drawn % (length - shortest + 1)).astype(np.int32)
    return Columns({"tokens": tokens, "length": counted})


def successors(vocabulary: int) -> np.ndarray:
    """Returns the tokens that may follow each token, int64 [V, 4], from the most to the least
    probable.

    All four are a permutation of the tokens shifted, so that none repeats in a row and the
    uniform distribution is stationary.
    """
    order = np.argsort(random_bytes(4, 0, 8 * vocabulary).view("<u8"), kind="stable")
    return (order[:, None] + np.arange(4)) % vocabulary


# Rectangles and their boxes.

OBJECT_CLASSES = ("red", "green", "blue")
_SMALLEST = 6
"""Pixels a side."""


def generated_objects(
    *,
    size: tuple[PositiveInt, PositiveInt] = (64, 64),
    most: PositiveInt = 4,
    examples: PositiveInt = 64,
    test_examples: PositiveInt | None = None,
) -> Source:
    """Makes `image` uint8 [H, W, 3], noise and rectangles, with `boxes` float32 [most, 4] and
    `labels` int32 [most].

    One to `most` rectangles an image, red, green or blue, a third of its side long at most; a later
    one may cover an earlier one.

    Keys:
      size: (H, W) in pixels.
      most: the most rectangles of an image.
      examples: the examples of 'train'.
      test_examples: the examples of 'test'; None: a fourth of `examples`.

    Raises:
      UserError: for images too small for rectangles.
    """
    if min(size) < 3 * _SMALLEST:
        raise UserError(
            f"generated_objects: expected a size of {3 * _SMALLEST} or more, got {size}"
        )
    tests = test_examples or max(1, examples // 4)
    return Source(
        splits={
            "train": _object_columns(size, most, examples, 7),
            "test": _object_columns(size, most, tests, 8),
        },
        classes=OBJECT_CLASSES,
        fingerprint=f"generated_objects 1 {tuple(size)} {most} {examples} {tests}",
        description="generated images of coloured rectangles",
    )


def _object_columns(size: tuple[int, int], most: int, examples: int, key: int) -> Columns:
    shares = random_bytes(key, 0, examples * most * 6).reshape(examples, most, 6) / 256
    sizes = np.array(size)
    sides = _SMALLEST + np.floor(shares[..., :2] * (sizes // 3 - _SMALLEST + 1))
    corners = np.floor(shares[..., 2:4] * (sizes - sides + 1))
    pixels = np.concatenate([corners, corners + sides], -1).astype(np.int32)
    labels = np.floor(shares[..., 4] * len(OBJECT_CLASSES)).astype(np.int32)
    count = 1 + np.floor(shares[:, :1, 5] * most)
    labels = np.where(np.arange(most) < count, labels, -1).astype(np.int32)
    boxes = np.where(labels[..., None] >= 0, pixels / np.tile(sizes, 2), 0).astype(np.float32)
    make = _RectangleImages(size, key + 10, pixels, labels)
    image = LazyColumn(make, np.arange(examples), (*size, 3), np.dtype(np.uint8))
    return Columns({"image": image, "boxes": boxes, "labels": labels})


@dataclass(frozen=True, eq=False)
class _RectangleImages:
    """int64 [n] -> uint8 [n, H, W, 3]."""

    size: tuple[int, int]
    key: int
    pixels: np.ndarray
    labels: np.ndarray

    def __call__(self, index: np.ndarray) -> np.ndarray:
        count = self.size[0] * self.size[1] * 3
        images = np.stack([random_bytes(self.key, i * count, count) for i in index.tolist()])
        images = (images // 4).reshape(-1, *self.size, 3)
        for image, i in zip(images, index, strict=True):
            for (top, left, bottom, right), label in zip(
                self.pixels[i], self.labels[i], strict=True
            ):
                if label >= 0:
                    image[top:bottom, left:right] = 32
                    image[top:bottom, left:right, label] = 224
        return images


# Texts.

_SYLLABLES = ("ba", "do", "ki", "lu", "me", "no", "ra", "su", "te", "vi", "wo", "za")


def generated_texts(
    *,
    examples: PositiveInt = 200,
    test_examples: PositiveInt | None = None,
    classes: PositiveInt = 2,
    longest: PositiveInt = 12,
) -> Source:
    """Makes `text` of 3 to `longest` words of an invented language, `label` and `translation`.

    A text of class k has among its words the k-th of a few that no text of another class has. Its
    translation has each word spelt backwards, in the opposite order.

    Keys:
      examples: the examples of 'train'.
      test_examples: the examples of 'test'; None: a fourth of `examples`.
      classes: the number of classes.
      longest: the most words of a text.
    """
    tests = test_examples or max(1, examples // 4)
    shape = f"{examples} {tests} {classes} {longest}"
    splits = {
        name: list(_sentences(count, classes, longest, key))
        for name, count, key in (("train", examples, 7), ("test", tests, 8))
    }
    return Source(
        splits,
        tuple(f"class {k}" for k in range(classes)),
        hashlib.sha256(f"generated_texts 1 {shape}".encode()).hexdigest(),
        "generated texts",
    )


def _sentences(count: int, classes: int, longest: int, key: int) -> Iterator[Element]:
    size = 2 + 2 * longest
    drawn = random_bytes(key, 0, count * size).reshape(count, size).astype(int)
    for i, (length, place, *letters) in enumerate(drawn.tolist()):
        n = min(3, longest) + length % (longest - min(3, longest) + 1)
        words = [
            _SYLLABLES[a % len(_SYLLABLES)] + _SYLLABLES[b % len(_SYLLABLES)]
            for a, b in zip(letters[:n], letters[n : 2 * n], strict=True)
        ]
        words[place % n] = f"k{i % classes}"
        yield {
            "text": " ".join(words),
            "translation": " ".join(word[::-1] for word in reversed(words)),
            "label": np.int32(i % classes),
        }
