"""How examples with texts become fields of tokens: `data.encode`.

An encoding says which `texts` of an example a tokenizer is trained on, gives a split whose
examples are `encoded`, and says how a bundle makes its inputs of a text (`served`). Where a text
may be cut, a field `cut` bool [] says of each example whether it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Element, Split, origin
from lepton_jax.data.text.tokenizer import Tokenizer
from lepton_jax.errors import UserError, did_you_mean

Long = Literal["refuse", "truncate"]
"""What is done with a text of more tokens than there is room for."""


class Encoding(Protocol):
    reads: tuple[str, ...]
    """The fields that hold texts."""

    def texts(self, example: Element, /) -> tuple[str, ...]: ...

    def encoded(self, split: Split, tokenizer: Tokenizer, /) -> Split: ...

    def served(self, tokenizer: Tokenizer, /) -> dict[str, Any]: ...


class TextEncoding:
    """A text, or a pair of them: `tokens` int32 [length], padded, and `length` int32 [], how many
    of them count. A pair has `kinds` int32 [length], 0 in the first text and 1 in the second.

    A text of which no token is left is the unknown token alone.
    """

    def __init__(
        self,
        *,
        text: str = "text",
        pair: str | None = None,
        length: PositiveInt,
        long: Long = "refuse",
    ):
        """`text`, `pair`: the fields of the data that hold them."""
        self.reads = (text,) if pair is None else (text, pair)
        self._length, self._long = length, long

    def texts(self, example: Element) -> tuple[str, ...]:
        return tuple(text_of(example, field) for field in self.reads)

    def encoded(self, split: Split, tokenizer: Tokenizer) -> Split:
        pair = len(self.reads) == 2
        padded = Padded(tokenizer, self._length, self._long, pair)

        def encode(example: Element) -> Element:
            tokens, length, kinds, cut = padded(*self.texts(example))
            return {
                "tokens": tokens,
                "length": length,
                **({"kinds": kinds} if pair else {}),
                **({"cut": cut} if self._long == "truncate" else {}),
            }

        return Encoded(split, encode)

    def served(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {
            "pair": len(self.reads) == 2,
            "long": self._long,
            "inputs": {"tokens": "tokens", "length": "length", "kinds": "kinds"},
            "size": self._length,
        }


class TranslationEncoding:
    """A text and its translation: `source` int32 [source_length] and `target` int32
    [target_length + 1], from its begin to its end, both padded; `source_length` and
    `target_length` int32 [] say how many of their tokens count.
    """

    def __init__(
        self,
        *,
        source: str = "source",
        target: str = "target",
        source_length: PositiveInt,
        target_length: PositiveInt,
        long: Long = "refuse",
    ):
        """`source`, `target`: the fields of the data that hold the texts."""
        self.reads = (source, target)
        self._lengths = (source_length, target_length + 1)
        self._long = long

    def texts(self, example: Element) -> tuple[str, ...]:
        return tuple(text_of(example, field) for field in self.reads)

    def encoded(self, split: Split, tokenizer: Tokenizer) -> Split:
        known = tokenizer.vocabulary
        if known.begin is None or known.end is None:
            raise UserError(
                "translation needs a tokenizer with a begin and an end: "
                "data.tokenizer.marks = 'begin_end', or wordpiece"
            )
        source, target = (Padded(tokenizer, n, self._long) for n in self._lengths)

        def encode(example: Element) -> Element:
            from_, to = self.texts(example)
            source_S, source_length, _, source_cut = source(from_)
            target_T, target_length, _, target_cut = target(to)
            return {
                "source": source_S,
                "source_length": source_length,
                "target": target_T,
                "target_length": target_length,
                **({"cut": source_cut | target_cut} if self._long == "truncate" else {}),
            }

        return Encoded(split, encode)

    def served(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {
            "pair": False,
            "long": self._long,
            "inputs": {"tokens": "source", "length": "source_length"},
            "size": self._lengths[0],
        }


@dataclass(frozen=True)
class Padded:
    """Texts as arrays of one length.

    Raises:
      UserError: when a text has more tokens and `long` is 'refuse', or none and there is no token
        that stands for the unknown.
    """

    tokenizer: Tokenizer
    length: int
    long: Long
    pair: bool = False

    @cached_property
    def _cutting(self) -> Tokenizer:
        return self.tokenizer.cut_to(self.length, pair=self.pair)

    def __call__(
        self, text: str, pair: str | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`tokens` [length], how many count, `kinds` [length], and whether some were cut off."""
        known = self.tokenizer.vocabulary
        encoding = self._cutting.encode(text, pair)
        cut = bool(encoding.overflowing)
        if cut and self.long == "refuse":
            count = len(self.tokenizer.encode(text, pair).ids)
            raise UserError(
                f"the text has {count} tokens, more than {self.length} (data.encode); "
                "data.encode.long='truncate' cuts it"
            )
        ids, kinds = encoding.ids, encoding.type_ids
        if not ids:
            if known.unknown is None:
                raise UserError("the text has no token, and there is none for the unknown")
            ids, kinds = [known.unknown], [0]
        tokens_T = np.full(self.length, known.pad, np.int32)
        kinds_T = np.zeros(self.length, np.int32)
        tokens_T[: len(ids)], kinds_T[: len(ids)] = ids, kinds
        return tokens_T, np.asarray(len(ids), np.int32), kinds_T, np.asarray(cut)


@dataclass(frozen=True)
class Encoded:
    """A split whose examples have the fields that `encode` makes of them, and their own."""

    split: Split
    encode: Callable[[Element], Element]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int, /) -> Element:
        example = self.split[index]
        return {**example, **self.encode(example)}

    def origin(self, index: int) -> str:
        return origin(self.split, index)


def text_of(example: Element, field: str) -> str:
    """The text in a field. Raises `UserError` when there is none, or it is not UTF-8."""
    if field not in example:
        raise UserError(
            f"no field {field!r}{did_you_mean(field, example)}; there are: {', '.join(example)} "
            "(data.encode says which hold texts)"
        )
    found = example[field]
    if isinstance(found, np.ndarray):
        found = found.item() if found.ndim == 0 else found
    if isinstance(found, bytes):
        try:
            return found.decode()
        except UnicodeDecodeError as e:
            raise UserError(f"{field!r} is not UTF-8: byte {e.start} is {found[e.start]:#x}") from e
    if not isinstance(found, str):
        raise UserError(f"{field!r} holds a {type(found).__name__}, expected a text")
    return found
