"""Many texts written at once: each has a slot of one cache, and joins and leaves between steps.

A step reads one token of every text, for one of a few numbers of slots. These are tried before the
first text: only those that give a row the same bytes are used, so that a text does not depend on
how many others are written beside it.
"""

from dataclasses import dataclass, field

import numpy as np

from ..cached import Cache, CachedPrograms
from .rows import put_row, take_rows
from .writing import WrittenText

# S slots, V vocabulary.

MOST_SLOTS = 8

_LONGEST = 256
"""Tokens that are read at once, at most, where each length is compiled and the context is open."""


@dataclass
class _Slot:
    """A row of the cache; without a text it is padding."""

    text: WrittenText | None = None
    unread: list[int] = field(default_factory=list)
    """Tokens of the text that the cache lacks, first to last."""
    count: int = 1
    """Tokens that the cache holds."""

    @property
    def writes(self) -> bool:
        return self.text is not None and not self.text.done


class Slots:
    """Writes texts with a language model, at most `most` at once.

    `sizes`: the numbers of slots that a step may have.
    """

    def __init__(self, programs: CachedPrograms, most: int = MOST_SLOTS):
        """Compiles and tries the programs.

        Raises:
          BundleError: when they cannot be run.
        """
        self._programs, self.most = programs, most
        self._slots: list[_Slot] = []
        self._cache: Cache = {}
        self._blank = programs.prefill([0])[1]
        self._lengths = _powers(4, self.context or _LONGEST) if programs.compiles_lengths else []
        for length in self._lengths:
            programs.prefill([0] * length)
        smaller = [n for n in _powers(2, most) if n < most and (n > 1 or not self._lengths)]
        wanted = self._try_size(most)
        self.sizes = [*(n for n in smaller if self._try_size(n) == wanted), most]

    @property
    def context(self) -> int | None:
        """The most tokens that a text looks back on; None for as many as there are."""
        return self._programs.context

    @property
    def bytes_of_cache(self) -> int:
        """The memory of the cache when all slots are taken."""
        return self.most * sum(int(x.nbytes) for x in self._blank.values())

    @property
    def writing(self) -> int:
        """How many texts are being written."""
        return sum(slot.writes for slot in self._slots)

    def join(self, text: WrittenText) -> None:
        """Reads the prompt of a text, of one token or more; the text draws its first token by it.

        Raises:
          BundleError: when a program cannot be run.
          RuntimeError: when every slot is taken.
        """
        places = [i for i, slot in enumerate(self._slots) if not slot.writes]
        if not places:
            places = [self.writing]
            self._resize(self.writing + 1)
        self._slots[places[0]] = _Slot(text)
        self._read(places[0], text)

    def step(self) -> None:
        """Reads one more token of each text; the text draws its next token by it.

        Raises:
          BundleError: when a program cannot be run.
        """
        writing = self.writing
        if writing and self._size(writing) < len(self._slots):
            self._resize(writing)
        for place, slot in enumerate(self._slots):
            if self.context is not None and slot.count >= self.context:
                self._make_room(place)
        reading = [slot.writes for slot in self._slots]
        if not any(reading):
            return
        tokens = [s.unread.pop(0) if r else 0 for s, r in zip(self._slots, reading, strict=True)]
        logits_SV, self._cache = self._step(tokens, self._cache)
        for slot, reads, logits_V in zip(self._slots, reading, logits_SV, strict=True):
            slot.count += 1
            if reads and not slot.unread:
                _draw(slot, logits_V)

    def clear(self) -> list[WrittenText]:
        """Forgets every text; returns those that were being written."""
        texts = [slot.text for slot in self._slots if slot.text is not None and slot.writes]
        self._slots, self._cache = [], {}
        return texts

    def _read(self, place: int, text: WrittenText) -> None:
        """Reads the tokens of a text into the row at a place, from the first that it looks back
        on.
        """
        slot = self._slots[place]
        kept = text.tokens[first_read(len(text.tokens), self.context) :]
        slot.count = max((n for n in self._lengths if n <= len(kept)), default=len(kept))
        logits_1V, row = self._programs.prefill(kept[: slot.count])
        self._cache = put_row(self._cache, place, row)
        slot.unread = kept[slot.count :]
        if not slot.unread:
            _draw(slot, np.asarray(logits_1V)[0])

    def _make_room(self, place: int) -> None:
        """Empties a full row as far as its text can do without it."""
        text = self._slots[place].text
        if text is not None and not text.done:
            self._read(place, text)
        else:
            self._cache = put_row(self._cache, place, self._blank)
            self._slots[place] = _Slot()

    def _resize(self, count: int) -> None:
        """Gives the cache rows for `count` texts, those that are being written first."""
        places = [i for i, slot in enumerate(self._slots) if slot.writes]
        padding = self._size(count) - len(places)
        if not places:
            self._cache = take_rows(self._blank, [0] * padding)
            self._slots = [_Slot() for _ in range(padding)]
            return
        self._cache = take_rows(self._cache, places + places[:1] * padding)
        kept = [self._slots[i] for i in places]
        self._slots = kept + [_Slot(count=kept[0].count) for _ in range(padding)]

    def _size(self, count: int) -> int:
        """Returns the number of slots of a step for `count` texts."""
        if count > self.most:
            raise RuntimeError(f"all of {self.most} slots are taken")
        return next(n for n in self.sizes if n >= count)

    def _step(self, tokens: list[int], cache: Cache) -> tuple[np.ndarray, Cache]:
        logits_SV, cache = self._programs.step(tokens, cache)
        return np.asarray(logits_SV), cache

    def _try_size(self, size: int) -> list[bytes]:
        """Returns the bytes of two steps of a row, which is the last of `size` slots."""
        other = self._programs.prefill([1, 0])[1]
        cache = put_row(take_rows(self._blank, [0] * size), size - 1, other)
        found = []
        for token in (1, 0):
            logits_SV, cache = self._step([token] * size, cache)
            found.append(logits_SV[-1].tobytes())
        return found + [np.asarray(cache[name])[-1].tobytes() for name in sorted(cache)]


def _draw(slot: _Slot, logits_V: np.ndarray) -> None:
    """Hands the logits to the slot's text; what it draws is read at the next step."""
    assert slot.text is not None
    slot.text.take(logits_V)
    slot.unread = slot.text.tokens[-1:]


def first_read(count: int, context: int | None) -> int:
    """Returns the place of the first of `count` tokens that the model still looks back on.

    When the context is full its first half is dropped at once: what is left must be read again, and
    so it is read again only once for many tokens.
    """
    if context is None or count <= context:
        return 0
    half = max(1, context // 2)
    return -(-(count - context) // half) * half


def _powers(base: int, most: int) -> list[int]:
    """Returns the powers of a number up to `most`."""
    powers = [1]
    while powers[-1] * base <= most:
        powers.append(powers[-1] * base)
    return powers
