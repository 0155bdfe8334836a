"""The cache of decoded data: the results of a host pipeline, kept as memory-mapped columns.

    <cache>/data/<digest of fingerprint, split and pipeline>/FIELD.npy, sizes.json, account.json

<cache> is $LEPTON_JAX_CACHE or ~/.cache/lepton_jax, and may be deleted at any time. Damage that
shows in the files' sizes is repaired by decoding again; a flipped bit is not noticed.
"""

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote as quote_url

import numpy as np

from lepton_jax.config.pipeline import Pipeline
from lepton_jax.console import say
from lepton_jax.data.account import Account
from lepton_jax.data.decoder import (
    Decoder,
    numeric_fields,
    require_fields,
    undecoded_columns,
)
from lepton_jax.data.source import Columns, Split
from lepton_jax.errors import UserError, WorkError, quote
from lepton_jax.io.atomic import replace_folder
from lepton_jax.io.lock import lock_path
from lepton_jax.io.paths import cache_root

# Part of every digest: raise it when a host transform of ours changes what it computes.
_VERSION = 1
_REPORT_EVERY_S = 5.0
_LONGEST = 255
"""Bytes that file systems allow a name."""


class CachedColumns(Columns):
    """Columns mapped from a folder of the cache. Pickled, they are the folder's name, so that a
    worker process maps the same pages instead of being sent a copy.

    Raises:
      OSError, ValueError: where files are missing or not as they were written.
    """

    def __init__(self, folder: Path):
        sizes = json.loads((folder / "sizes.json").read_text())
        columns = {}
        for name, size in sizes.items():
            path = _file(folder, name)
            if path.stat().st_size != size:
                raise ValueError(f"{path}: expected {size} bytes")
            columns[name] = np.load(path, mmap_mode="r").view(np.ndarray)
        super().__init__(columns)
        self.folder = folder
        account = folder / "account.json"  # not there in copies that an earlier version made
        self.account = Account.from_json(
            json.loads(account.read_text()) if account.exists() else {}
        )
        """What was converted when the examples were decoded."""

    def __reduce__(self) -> tuple:
        return CachedColumns, (self.folder,)


def cached_columns(
    split: Split,
    *,
    name: str,
    fingerprint: str,
    decode: Pipeline,
    look_only: bool = False,
    source: str = "",
) -> Columns:
    """Returns the numeric fields of a split after the host pipeline, memory-mapped from the cache.

    Main arguments:
      split: what is decoded. Columns that need no decoding stay as they are, in memory.
      name: of the split.
      fingerprint: names the contents of the split.
      decode: the host pipeline. A host transform of the user's own that changes under the same name
        needs another name, or an empty cache.
      look_only: where the cache has no copy, decodes a few examples and makes none.
      source: where the split comes from, for messages.

    Raises:
      UserError: when examples cannot be decoded or have several shapes afterwards, or when the
        cache cannot be written.
      WorkError: when the disk is full.
    """
    identity = json.dumps([_VERSION, fingerprint, name, decode.text])
    folder = cache_root() / "data" / hashlib.sha256(identity.encode()).hexdigest()[:32]
    in_memory = split if isinstance(split, Columns) and not decode else None
    if in_memory is None:
        cached = _open(folder)
        if cached is not None:  # before the split's length is asked for, which may be work
            return cached
    where = f"{source}: " if source else ""
    account = Account()
    with account.opened():  # to know its length, a split may read all its texts
        if len(split) == 0:
            raise UserError(f"{where}split {name!r} has no examples; leave it out of the data")
    if in_memory is not None:
        try:
            fields = numeric_fields(in_memory.columns)
        except UserError as e:
            raise UserError(f"{where}split {name!r}: {e}") from None
        return Columns(require_fields(fields, name))
    decoder = Decoder(split, name, decode)
    if look_only:
        return undecoded_columns(decoder, split)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(".lock")
        lock.touch()
        with lock_path(lock, lambda: say("waiting for another process that decodes the same data")):
            cached = _open(folder)  # another process may have built it while we waited
            if cached is None:
                _build(decoder, name, len(split), folder, account)
                cached = CachedColumns(folder)
            return cached
    except OSError as e:
        problem = f"cannot keep decoded data in {folder.parent}: {e}"
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkError(problem) from e
        raise UserError(f"{problem}; LEPTON_JAX_CACHE may name another place") from e


def _open(folder: Path) -> CachedColumns | None:
    """Returns the columns of a folder; None where they are not there, or damaged."""
    try:
        return CachedColumns(folder)
    except (OSError, ValueError):
        return None


def _build(decoder: Decoder, name: str, count: int, folder: Path, account: Account) -> None:
    examples = _decode_all(decoder, name, count)
    sizes = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(account.opened())
        first = next(examples)
        partial = stack.enter_context(replace_folder(folder))
        partial.mkdir()
        files = {field: stack.enter_context(_file(partial, field).open("wb")) for field in first}
        for field, array in first.items():
            _write_header(files[field], count, array)
            files[field].write(array.tobytes())
        for example in examples:
            for field, array in example.items():
                files[field].write(array.tobytes())
        for field, file in files.items():
            file.flush()
            os.fsync(file.fileno())
            sizes[field] = file.tell()
        (partial / "account.json").write_text(json.dumps(account.as_json()))
        (partial / "sizes.json").write_text(json.dumps(sizes))


def _decode_all(decoder: Decoder, name: str, count: int) -> Iterator[dict[str, np.ndarray]]:
    reported = time.monotonic()
    for i in range(count):
        yield decoder(i)
        if time.monotonic() - reported > _REPORT_EVERY_S:
            reported = time.monotonic()
            say(f"decoding {name!r}: {i + 1:,} of {count:,} examples")


def _write_header(file: BinaryIO, examples: int, array: np.ndarray) -> None:
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": (examples, *array.shape),
    }
    np.lib.format.write_array_header_1_0(file, header)


def _file(folder: Path, field: str) -> Path:
    name = f"{quote_url(field, safe='')}.npy"
    if len(name) > _LONGEST:
        raise UserError(f"a field of the data has too long a name, {quote(field, 40)}; rename it")
    return folder / name
