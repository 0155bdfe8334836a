"""A tokenizer: texts to tokens and back, as a `tokenizer.json` of Hugging Face's library says.

The text of that file is all there is of a tokenizer. It is kept beside a run's config and travels
in a bundle, where `serving/texts.py` reads it. A trained tokenizer is cached by its training data:

    <cache>/tokenizers/<digest of the texts' fingerprint and of how it is made>.json
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from lepton_jax.data.account import note_decoding
from lepton_jax.data.spec import Vocabulary
from lepton_jax.errors import UserError, WorkError, quote
from lepton_jax.io.atomic import replace_file
from lepton_jax.io.paths import cache_root

# Part of every digest: raise it when a tokenizer of ours is made in another way.
_VERSION = 1

_SHOWN = 40
"""Characters of a text that a note shows."""

SPECIAL = {
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|finetune_right_pad_id|>"),
    "unknown": ("[UNK]", "<unk>"),
    "begin": ("[CLS]", "[BEGIN]", "<s>", "<bos>", "<|begin_of_text|>"),
    "end": ("[SEP]", "[END]", "</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"),
    "mask": ("[MASK]", "<mask>"),
}
"""The names of tokens with a meaning, here and in tokenizers from elsewhere."""


class Tokenizer:
    """The tokenizer that a `tokenizer.json` describes. `text` is the text of that file.

    Raises:
      UserError: when the text cannot be read; `name` says what it is.
    """

    def __init__(self, text: str, name: str = "tokenizer.json"):
        from tokenizers import Tokenizer as LibraryTokenizer

        self.text = text
        try:
            self._tokenizer = LibraryTokenizer.from_str(text)
        except Exception as e:  # noqa: BLE001  the library raises nothing narrower
            raise UserError(f"{name}: not a readable tokenizer: {e}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        numbers = self._tokenizer.get_vocab(with_added_tokens=True)
        tokens = [""] * (max(numbers.values(), default=-1) + 1)
        for token, number in numbers.items():
            tokens[number] = token
        # A word that merely looks like a special token is a word.
        marked = {t["content"] for t in json.loads(self.text).get("added_tokens") or ()}
        special = {
            meaning: next((numbers[n] for n in names if n in marked), None)
            for meaning, names in SPECIAL.items()
        }
        return Vocabulary(tuple(tokens), special.pop("pad") or 0, **special)

    def cut_to(self, length: int, *, pair: bool = False) -> "Tokenizer":
        """Returns the tokenizer that cuts a longer text to its first `length` tokens, with the end
        among them.

        Raises:
          UserError: when nothing of a text would be left.
        """
        around = self._tokenizer.num_special_tokens_to_add(pair)
        if length <= around:
            raise UserError(
                f"{length} tokens leave no room for a text: the tokenizer adds {around} tokens to "
                "each text"
            )
        cutting = Tokenizer(self.text)
        cutting._tokenizer.enable_truncation(length)
        return cutting

    @cached_property
    def _special(self) -> re.Pattern[str] | None:
        """The texts that are read as special tokens wherever they stand."""
        added = json.loads(self.text).get("added_tokens") or ()
        contents = [re.escape(t["content"]) for t in added if t.get("special")]
        return re.compile("|".join(contents)) if contents else None

    def note_text(self, encoding: Any, *texts: str) -> None:
        """Notes, where a split is decoded, what of a text or a pair becomes other tokens than it
        says. `encoding` is the library's `Encoding` of it.
        """
        for text in texts:
            special = self._special.search(text) if self._special else None
            if special:
                what = f"texts with {special[0]!r}, which is read as the special token"
                note_decoding(what, quote(text, _SHOWN))
        unknown, ids = self.vocabulary.unknown, encoding.ids
        if not ids:
            note_decoding("texts without a token", quote(texts[0], _SHOWN))
        elif unknown is not None and unknown in ids:
            i = ids.index(unknown)
            start, end = encoding.offsets[i]
            part = texts[encoding.token_to_sequence(i) or 0][start:end]
            note_decoding("texts with parts that the vocabulary lacks", repr(part))

    def encode(self, text: str, pair: str | None = None) -> Any:
        """Encodes a text, or a pair, as the library's `Encoding`: `ids`, `type_ids`, `offsets` into
        the text, `overflowing`.
        """
        return self._tokenizer.encode(text, pair)

    def encode_prompt(self, text: str) -> list[int]:
        """Returns the tokens of a text to be continued: a begin before it, and no end after it."""
        check_text(text)
        begin = self.vocabulary.begin
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if begin is None else [begin, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of tokens, without those that stand around a text or for padding."""
        return self._tokenizer.decode(list(map(int, ids)))


def check_text(text: str) -> None:
    """Raises `UserError` for half a character (a surrogate), which is in no text of UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise UserError(
            f"the text holds half a character, {text[e.start]!r}, behind {e.start} others; "
            "expected UTF-8"
        ) from None


def train_tokenizer_once(
    make: Callable[[Iterator[str]], str], texts: Callable[[], Iterator[str]], identity: Any
) -> Tokenizer:
    """Trains a tokenizer on texts with `make`, or finds the one that was trained on them before.

    Main arguments:
      make: texts -> the text of a `tokenizer.json`.
      texts: gives the texts; called only where no tokenizer is in the cache.
      identity: what the result depends on, as JSON takes it.

    Raises:
      UserError: when it cannot be made, or the cache cannot be written.
      WorkError: when the disk is full.
    """
    from tokenizers import __version__

    identity = json.dumps([_VERSION, __version__, identity], sort_keys=True)
    folder = cache_root() / "tokenizers"
    file = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, UserError):
        return Tokenizer(file.read_text("utf-8"))
    tokenizer = Tokenizer(make(texts()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(file) as out:
            out.write(tokenizer.text.encode())
    except OSError as e:
        raise WorkError(f"cannot keep the tokenizer in {folder}: {e}") from None
    return tokenizer
