"""Parquet files with encoded images, as the Hugging Face hub has them.

A Parquet file can only be read by whole groups of rows. So each file is copied once into the cache
as an Arrow file, in which any row can be read; images stay encoded.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lepton_jax.config.schema import PathText, Running
from lepton_jax.console import say
from lepton_jax.data.account import Account
from lepton_jax.data.source import Source
from lepton_jax.data.sources.arrow import arrow_source
from lepton_jax.data.sources.files import split_files
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.atomic import replace_file
from lepton_jax.io.paths import cache_root

ROWS = 64
"""Rows in a batch of the Arrow file."""


def parquet(
    *, path: Running[PathText], image: str = "image", label: str | None = "label"
) -> Source:
    """Opens a `.parquet` file, or a folder of them: SPLIT.parquet, SPLIT-00000-of-00003.parquet, or
    SPLIT/0000.parquet; a file of another name is 'train'.

    The column `image` holds the bytes of image files, or structs {bytes, path}; `label` holds
    numbers, or texts that are the classes; with None there are no classes. The names of classes are
    taken from what the hub writes into the file. The fingerprint covers names, sizes and
    modification times.

    Keys:
      path: the file, or a folder of files.
      image: the column that becomes `image`.
      label: the column that becomes `label`, the class; None: there are no classes.

    Raises:
      UserError: naming the file or column that is absent or cannot be read.
    """
    root = Path(path).expanduser()
    account = Account()
    digest = hashlib.sha256()
    files: dict[str, tuple[str, ...]] = {}
    shown_files: dict[str, tuple[str, ...]] = {}
    features: dict[str, Mapping[str, Any]] = {}
    split_of = {
        file: split
        for split, of_split in split_files(path, (".parquet",), account).items()
        for file in of_split
    }
    for file, split in sorted(split_of.items()):
        stat = file.stat()
        where = file.relative_to(root).as_posix() if root.is_dir() else file.name
        identity = f"{where} {stat.st_size} {stat.st_mtime_ns}"
        digest.update(f"{identity}\n".encode())
        copy, features[str(file)] = _copy_to_arrow(
            file, hashlib.sha256(f"{file} {identity}".encode())
        )
        files[split] = (*files.get(split, ()), str(copy))
        shown_files[split] = (*shown_files.get(split, ()), str(file))
    return arrow_source(
        path, files, shown_files, features, image, label, digest.hexdigest(), account
    )


def _copy_to_arrow(file: Path, digest: Any) -> tuple[Path, Mapping[str, Any]]:
    """Returns the Arrow file of a Parquet file, made if need be, and the features it declares."""
    target = cache_root() / "arrow" / f"{digest.hexdigest()[:32]}.arrow"
    try:
        table = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as e:
        raise UserError(f"{file}: not a readable Parquet file: {e}") from None
    metadata = (table.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(metadata).get("info", {}).get("features") or {}
    except (ValueError, AttributeError):  # of another program
        features = {}
    if target.exists():
        return target, features
    say(f"copying {file.name} into the cache, to read it in any order")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(target) as out, pa.ipc.new_stream(out, table.schema_arrow) as writer:
            for batch in table.iter_batches(ROWS):
                writer.write_batch(batch)
    except pa.ArrowException as e:
        raise UserError(f"{file}: not a readable Parquet file: {e}") from None
    except OSError as e:
        raise WorkError(f"cannot copy {file} into {target.parent}: {e}") from None
    return target, features
