"""The encoding of texts that a signature declares, by the tokenizer in the bundle."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import BundleError, InputError
from .files import read_file

MAX_TOKENIZER = 1 << 27
"""Bytes of a bundle's tokenizer.json; larger ones are refused unread."""


def read_encoder(folder: str | os.PathLike[str], how: Mapping[str, Any]) -> "TextEncoder":
    """Reads the tokenizer of a bundle. Raises as `TextEncoder`."""
    where = f"{os.fspath(folder)}/tokenizer.json"
    try:
        text = read_file(folder, "tokenizer.json", MAX_TOKENIZER).decode()
    except UnicodeDecodeError as e:
        raise BundleError(f"{where}: {e!s:.200}") from None
    return TextEncoder(text, how, where)


class TextEncoder:
    """A bundle's tokenizer, and how its signature says that texts become inputs.

    Args:
      text: the tokenizer as `tokenizer.json` holds it.
      how: the part `text` of the signature.
      where: what holds the tokenizer, for errors.

    Raises:
      BundleError: when the tokenizer cannot be read, or the package tokenizers is not installed.
    """

    def __init__(self, text: str, how: Mapping[str, Any], where: str):
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise BundleError("a bundle with texts needs the package 'tokenizers'") from None
        self._how = how
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as e:  # noqa: BLE001  the library raises nothing narrower
            raise BundleError(f"{where}: {e!s:.200}") from None
        self._tokenizer: Any = tokenizer
        tokenizer.no_padding()

    def encode(self, *texts: str) -> tuple[dict[str, np.ndarray], bool]:
        """As `Bundle.encode`."""
        how, tokenizer = self._how, self._tokenizer
        if len(texts) != (2 if how["pair"] else 1):
            expected = "two texts, with a tab between," if how["pair"] else "one text"
            raise InputError(f"this bundle takes {expected} an example; got {len(texts)}")
        size, goes_on = int(how["size"]), bool(how.get("goes_on"))
        tokenizer.no_truncation()
        encoded = tokenizer.encode(*texts, add_special_tokens=not goes_on)
        ids, kinds, count = encoded.ids, encoded.type_ids, len(encoded.ids)
        if goes_on:  # the next token is asked for, and has a place of its own
            ids = self.prompt(*texts)
            count = len(ids) + 1
            kinds = [0] * len(ids)
        cut = count > size
        if cut and how["long"] != "truncate":
            raise InputError(f"the text has {count} tokens, more than the bundle's {size}")
        if cut:
            tokenizer.enable_truncation(size)
            encoded = tokenizer.encode(*texts)
            ids, kinds, count = encoded.ids, encoded.type_ids, len(encoded.ids)
        if not ids:
            if how.get("unknown") is None:
                raise InputError(
                    "the text has no token, and the tokenizer has no token for unknown text"
                )
            ids, kinds, count = [how["unknown"]], [0], 1 + goes_on
        tokens = np.full(size, how["pad"], np.int32)
        kinds_of = np.zeros(size, np.int32)
        tokens[: len(ids)], kinds_of[: len(ids)] = ids, kinds
        parts = {"tokens": tokens, "length": np.asarray(count, np.int32), "kinds": kinds_of}
        return {field: parts[part] for part, field in how["inputs"].items()}, cut

    def prompt(self, text: str) -> list[int]:
        """As `Bundle.prompt`."""
        begin = self._how["begin"]
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if begin is None else [begin, *ids]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """As `Bundle.text`."""
        return self._tokenizer.decode(list(map(int, tokens)))
