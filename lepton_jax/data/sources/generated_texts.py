"""Sentences made by chance, to try texts on where there is no data set at hand."""

import hashlib
from collections.abc import Iterator

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Element, Source
from lepton_jax.data.sources.generated import random_bytes
from lepton_jax.data.text.chunks import Listed

_SYLLABLES = ("ba", "do", "ki", "lu", "me", "no", "ra", "su", "te", "vi", "wo", "za")


def generated_texts(
    *,
    examples: PositiveInt = 200,
    test_examples: PositiveInt | None = None,
    classes: PositiveInt = 2,
    longest: PositiveInt = 12,
) -> Source:
    """`text` of 3 to `longest` words of an invented language, `label` and `translation`.

    A text of class k has among its words the k-th of a few that no text of another class has. Its
    translation has each word spelt backwards, in the opposite order.
    """
    tests = test_examples or max(1, examples // 4)
    shape = f"{examples} {tests} {classes} {longest}"
    splits = {
        name: Listed(list(_sentences(count, classes, longest, key)))
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
