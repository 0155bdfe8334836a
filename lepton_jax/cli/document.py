"""What `--json` prints: JSON for every value that a result may hold, of a user's kind too."""

import base64
import dataclasses
import datetime
import enum
import json
import math
import os
from collections.abc import Mapping, Set
from typing import Any


def format_document(value: Any) -> str:
    """Formats a value as one JSON document, ASCII only.

    NaN and the infinities, which JSON lacks, are the texts 'nan', 'inf' and '-inf', as in records.
    Arrays and scalars of NumPy and JAX are lists and numbers, sets and tuples lists, paths and
    dates texts; bytes are text where they are UTF-8, else base64. A key that is a tuple is joined
    by '/'. What has no form in JSON is its `str`.
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """Returns a value as JSON's own types alone."""
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | str):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, Mapping):
        return {_key(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Set):
        return sorted((_plain(v) for v in value), key=str)
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if callable(getattr(value, "tolist", None)):  # arrays, and scalars of NumPy
        listed = value.tolist()
        return str(value) if isinstance(listed, type(value)) else _plain(listed)
    try:
        return [_plain(v) for v in value]  # tuples, lists, ranges, generators
    except TypeError:
        return str(value)


def _key(key: Any) -> str:
    if isinstance(key, tuple):
        return "/".join(map(_key, key))
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()
