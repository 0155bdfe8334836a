"""The encoding of language modelling: all texts of a split as one stream of tokens, in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, LazyColumn, Split, origin_of
from lepton_jax.data.text.encodings import Served, text_in_field
from lepton_jax.data.text.tokenizer import Tokenizer
from lepton_jax.errors import UserError
from lepton_jax.transforms.host import Element


class StreamEncoding:
    """Encodes all texts of a split as chunks: `tokens` int32 [length + 1], chunk after chunk. The
    first token of each chunk is the last of the chunk before it, so that every token but the very
    first is a target exactly once.

    `length` int32 [] says how many of a chunk's tokens count: all of them but in the last chunk.
    `characters` int32 [] is the number of characters of the texts that its targets stand for.

    Keys:
      text: the field of the data that holds the texts.
      length: the targets in a chunk.
      stride: how many tokens after the last one each chunk of the training split begins. Chunks
        overlap where it is below `length`, and an epoch is then longer; 1 gives every chunk there
        is, as nanoGPT draws them. None: `length`.
    """

    def __init__(
        self, *, text: str = "text", length: PositiveInt, stride: PositiveInt | None = None
    ):
        self.reads = (text,)
        self._text, self._length, self._stride = text, length, stride

    def texts(self, example: Element) -> tuple[str, ...]:
        return (text_in_field(example, self._text),)

    def encoded(self, split: Split, tokenizer: Tokenizer) -> Split:
        return TokenChunks(split, tokenizer, self._text, self._length)

    def carved(self, split: Split, fraction: float) -> tuple[Split, Split]:
        """Returns 'train' and 'valid': the last `fraction` of the characters of all texts is
        'valid', also where it begins inside of a text.
        """
        texts = list(_texts(split, self._text))
        left = int(sum(map(len, texts)) * (1 - fraction))
        sides: tuple[list[Element], list[Element]] = ([], [])
        for text in texts:
            for side, part in zip(sides, (text[:left], text[left:]), strict=True):
                if part:
                    side.append({self._text: part})
            left = max(0, left - len(text))
        return sides

    def trained_on(self, columns: Columns) -> Columns:
        """Returns the chunks of the training split with `stride` tokens from one to the next."""
        if self._stride is None:
            return columns
        tokens, length = columns.columns["tokens"], np.asarray(columns.columns["length"])
        stream = np.concatenate([np.asarray(tokens)[:, :-1].ravel(), tokens[-1][-1:]])
        stream = stream[: len(stream) - (self._length + 1 - int(length[-1]))]
        count = (len(stream) - self._length - 1) // self._stride + 1
        if count < 1:
            raise UserError(
                f"the training split has {len(stream)} tokens, fewer than a chunk of "
                f"{self._length + 1} (data.encode)"
            )
        size = self._length + 1
        windows = _Windows(stream, size, self._stride)
        # Characters are counted where the chunks of the cache end, and taken to be evenly spread
        # between: this is for training only.
        counted = np.concatenate([[0], np.cumsum(columns.columns["characters"], dtype=np.int64)])
        ends = np.minimum(np.arange(len(counted)) * self._length, len(stream) - 1)
        start = np.arange(count) * self._stride
        characters = np.interp(start + self._length, ends, counted)
        characters -= np.interp(start, ends, counted)
        return Columns(
            {
                "tokens": LazyColumn(windows, np.arange(count), (size,), np.dtype(np.int32)),
                "length": np.full(count, size, np.int32),
                "characters": np.round(characters).astype(np.int32),
            }
        )

    def served(self, tokenizer: Tokenizer) -> Served:
        return {
            "pair": False,
            "long": "refuse",
            "inputs": {"tokens": "tokens", "length": "length"},
            "size": self._length + 1,
            "goes_on": True,
        }


@dataclass(frozen=True)
class TokenChunks:
    """The chunks of a split's texts. Elements: `tokens`, `length` and `characters`."""

    split: Split
    tokenizer: Tokenizer
    text: str
    length: int

    @cached_property
    def _stream(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens int32 [N] of all texts, and for each the number of characters of all texts
        before its end, int64 [N].

        Raises:
          UserError: when there are fewer than two tokens.
        """
        ids, ends, start = [], [], 0
        for text in _texts(self.split, self.text):
            encoding = self.tokenizer.encode(text)
            self.tokenizer.note_text(encoding, text)
            if encoding.ids:
                end = np.fromiter((b for _, b in encoding.offsets), np.int64, len(encoding.ids))
                # The tokens around a text have no place in it. Characters that no token stands for
                # count as the last token's.
                end = np.maximum.accumulate(end)
                end[-1] = len(text)
                ids.append(np.asarray(encoding.ids, np.int32))
                ends.append(start + end)
            start += len(text)
        stream = np.concatenate(ids) if ids else np.empty(0, np.int32)
        if len(stream) < 2:
            raise UserError(
                f"the texts in {self.text!r} have {len(stream)} tokens, expected two or more"
            )
        return stream, np.concatenate(ends)

    def __len__(self) -> int:
        return -(-(len(self._stream[0]) - 1) // self.length)

    def __getitem__(self, index: int, /) -> Element:
        stream, ends = self._stream
        start = index * self.length
        chunk = stream[start : start + self.length + 1]
        tokens = np.full(self.length + 1, self.tokenizer.vocabulary.pad, np.int32)
        tokens[: len(chunk)] = chunk
        return {
            "tokens": tokens,
            "length": np.asarray(len(chunk), np.int32),
            "characters": np.asarray(ends[start + len(chunk) - 1] - ends[start], np.int32),
        }


@dataclass(frozen=True)
class _Windows:
    """int64 [n] -> int32 [n, size]: windows of a stream of tokens, `stride` after each other."""

    stream: np.ndarray
    size: int
    stride: int

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return self.stream[index[:, None] * self.stride + np.arange(self.size)]


def _texts(split: Split, field: str) -> Iterator[str]:
    for i in range(len(split)):
        try:
            yield text_in_field(split[i], field)
        except UserError as e:
            where = origin_of(split, i)
            raise UserError(f"{where or f'text {i}'}: {e}") from e
