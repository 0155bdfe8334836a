"""Encodings: how examples with texts become fields of tokens (`data.encode`).

Where a text may be cut, a field `cut` bool [] of each example says whether it was.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, MappedSplit, Split
from lepton_jax.data.text.tokenizer import Tokenizer, check_text
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.transforms.host import Element

FIELDS = frozenset(
    {"tokens", "length", "kinds", "cut", "characters", "source", "source_length", "target"}
    | {"target_length"}
)
"""The fields that encodings make, in the place of columns of the same name."""

Long = Literal["refuse", "truncate"]
"""What is done with a text of more tokens than there is room for."""


class Served(TypedDict):
    """How a bundle makes its inputs of a text: the part `text` of signature.json."""

    pair: bool
    """Whether an example is two texts."""
    long: Long
    inputs: dict[str, str]
    """The input that takes each of 'tokens', 'length' and 'kinds'."""
    size: int
    """The tokens that an input has room for."""
    goes_on: NotRequired[bool]
    """Whether the answer continues the text, which then has no end."""


class Encoding(Protocol):
    """What every encoding has. `CarvesTexts` and `EncodesTraining` are optional."""

    reads: tuple[str, ...]
    """The fields of an example that hold texts."""

    def texts(self, example: Element, /) -> tuple[str, ...]:
        """Returns the texts of an example. A tokenizer is trained on those of 'train'."""
        ...

    def encoded(self, split: Split, tokenizer: Tokenizer, /) -> Split:
        """Returns a split whose examples hold fields of tokens."""
        ...

    def served(self, tokenizer: Tokenizer, /) -> Served:
        """Says how a bundle makes its inputs of a text."""
        ...


@runtime_checkable
class CarvesTexts(Protocol):
    """An encoding that carves 'valid' by itself, where examples follow on each other."""

    def carved(self, split: Split, fraction: float, /) -> tuple[Split, Split]:
        """Returns 'train' and 'valid' of a training split that is not encoded yet."""
        ...


@runtime_checkable
class EncodesTraining(Protocol):
    """An encoding whose training split is not the one that is kept in the cache."""

    def trained_on(self, columns: Columns, /) -> Columns:
        """Returns the training split as it is trained on, of the encoded one."""
        ...


class TextEncoding:
    """Encodes a text, or a pair of texts, as `tokens` int32 [length], padded. `length` int32 [] is
    the number of tokens that count. A pair has `kinds` int32 [length], 0 in the first text and 1
    in the second.

    A text of which no token is left is the unknown token alone.

    Keys:
      text: the field of the data that holds the text.
      pair: the field that holds the second text of a pair; None: there is one text.
      length: the tokens that there is room for.
      long: what is done with a text of more tokens: it is an error ('refuse'), or it is cut
        ('truncate').
    """

    def __init__(
        self,
        *,
        text: str = "text",
        pair: str | None = None,
        length: PositiveInt,
        long: Long = "refuse",
    ):
        self.reads = (text,) if pair is None else (text, pair)
        self._length, self._long = length, long

    def texts(self, example: Element) -> tuple[str, ...]:
        return tuple(text_in_field(example, field) for field in self.reads)

    def encoded(self, split: Split, tokenizer: Tokenizer) -> Split:
        pair = len(self.reads) == 2
        encode_padded = PaddedEncoder(tokenizer, self._length, self._long, pair)

        def encode(example: Element) -> Element:
            tokens, length, kinds, cut = encode_padded(*self.texts(example))
            return {
                **example,
                "tokens": tokens,
                "length": length,
                **({"kinds": kinds} if pair else {}),
                **({"cut": cut} if self._long == "truncate" else {}),
            }

        return MappedSplit(split, encode)

    def served(self, tokenizer: Tokenizer) -> Served:
        return {
            "pair": len(self.reads) == 2,
            "long": self._long,
            "inputs": {"tokens": "tokens", "length": "length", "kinds": "kinds"},
            "size": self._length,
        }


class TranslationEncoding:
    """Encodes a text and its translation as `source` int32 [source_length] and `target` int32
    [target_length + 1], both padded. A target goes from its begin to its end. `source_length` and
    `target_length` int32 [] say how many tokens of each count.

    Keys:
      source: the field of the data that holds the text.
      target: the field that holds its translation.
      source_length: the tokens that there is room for in the text.
      target_length: the tokens that there is room for in the translation.
      long: what is done with a text of more tokens: it is an error ('refuse'), or it is cut
        ('truncate').
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
        self.reads = (source, target)
        self._lengths = (source_length, target_length + 1)
        self._long = long

    def texts(self, example: Element) -> tuple[str, ...]:
        return tuple(text_in_field(example, field) for field in self.reads)

    def encoded(self, split: Split, tokenizer: Tokenizer) -> Split:
        if tokenizer.vocabulary.begin is None or tokenizer.vocabulary.end is None:
            raise UserError(
                "translation needs a tokenizer with a begin and an end: "
                "data.tokenizer.marks = 'begin_end', or wordpiece"
            )
        source, target = (PaddedEncoder(tokenizer, n, self._long) for n in self._lengths)

        def encode(example: Element) -> Element:
            source_text, target_text = self.texts(example)
            source_S, source_length, _, source_cut = source(source_text)
            target_T, target_length, _, target_cut = target(target_text)
            return {
                **example,
                "source": source_S,
                "source_length": source_length,
                "target": target_T,
                "target_length": target_length,
                **({"cut": source_cut | target_cut} if self._long == "truncate" else {}),
            }

        return MappedSplit(split, encode)

    def served(self, tokenizer: Tokenizer) -> Served:
        return {
            "pair": False,
            "long": self._long,
            "inputs": {"tokens": "source", "length": "source_length"},
            "size": self._lengths[0],
        }


@dataclass(frozen=True)
class PaddedEncoder:
    """Encodes texts as arrays of one `length`."""

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
        """Returns `tokens` int32 [length], how many of them count, `kinds` int32 [length], and
        whether some were cut off.

        Raises:
          UserError: when the text has more tokens and `long` is 'refuse', or when it has none and
            no token stands for the unknown.
        """
        vocabulary = self.tokenizer.vocabulary
        encoding = self._cutting.encode(text, pair)
        cut = bool(encoding.overflowing)
        if cut and self.long == "refuse":
            count = len(self.tokenizer.encode(text, pair).ids)
            raise UserError(
                f"the text has {count} tokens, more than {self.length} (data.encode); "
                "data.encode.long='truncate' truncates it"
            )
        ids, kinds = encoding.ids, encoding.type_ids
        self.tokenizer.note_text(encoding, *(text,) if pair is None else (text, pair))
        if not ids:
            if vocabulary.unknown is None:
                raise UserError(
                    "the text has no token, and the tokenizer has no token for unknown text"
                )
            ids, kinds = [vocabulary.unknown], [0]
        tokens_T = np.full(self.length, vocabulary.pad, np.int32)
        kinds_T = np.zeros(self.length, np.int32)
        tokens_T[: len(ids)], kinds_T[: len(ids)] = ids, kinds
        return tokens_T, np.asarray(len(ids), np.int32), kinds_T, np.asarray(cut)


def text_in_field(example: Element, field: str) -> str:
    """Returns the text in a field of an example.

    Raises:
      UserError: when there is no such field, no text in it, or it is not UTF-8.
    """
    if field not in example:
        raise UserError(
            f"no field {field!r}{did_you_mean(field, example)}; there are: {', '.join(example)} "
            "(the keys of data.encode, such as data.encode.text, say which hold texts)"
        )
    text = example[field]
    if isinstance(text, np.ndarray):
        text = text.item() if text.ndim == 0 else text
    if isinstance(text, bytes):
        try:
            return text.decode()
        except UnicodeDecodeError as e:
            raise UserError(f"{field!r} is not UTF-8: byte {e.start} is {text[e.start]:#x}") from e
    if text is None:
        raise UserError(f"the text in {field!r} is missing (null)")
    if not isinstance(text, str):
        raise UserError(f"{field!r} holds a {type(text).__name__}, expected a text")
    try:
        check_text(text)
    except UserError as e:
        raise UserError(f"{field!r}: {e}") from None
    return text
