"""The files of a data set of tables: which of them are read, and of which split each is."""

import re
from pathlib import Path

from lepton_jax.data.account import Account
from lepton_jax.data.naming import is_hidden, is_split_name, name_splits
from lepton_jax.data.spec import SHOWN
from lepton_jax.errors import UserError, list_names
from lepton_jax.io.files import name_nearest

_SHARD = re.compile(r"-\d+-of-\d+.*$")
_PART = re.compile(r"\d+|data|part.*")


def split_files(
    path: str, suffixes: tuple[str, ...], account: Account
) -> dict[str, tuple[Path, ...]]:
    """Returns the files of each split. A single file is 'train'. In a folder the split is called by
    the file, SPLIT.csv or SPLIT-00000-of-00003.csv, or by a folder, SPLIT/0000.csv.

    Hidden files and folders are passed over. Several files of one split are noted in `account`.

    Args:
      path: the file, or the folder, which is searched with all that is below it.
      suffixes: of the files that are read in a folder, in small letters.

    Raises:
      UserError: when there is none, one is a link to nothing, or two mean one split.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        if not root.is_file():
            raise UserError(_no_file(path, root, suffixes))
        return {"train": (root,)}
    files = [f for f in root.rglob("*") if f.suffix.lower() in suffixes and _is_seen(f, root)]
    files.sort(key=lambda f: (suffixes.index(f.suffix.lower()), f))
    groups: dict[str, list[Path]] = {}
    names: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            if file.is_symlink():
                raise UserError(f"{file}: a link to nothing, {file.readlink()}")
            continue
        thing, name = _named_by(file, root)
        groups.setdefault(thing, []).append(file)
        names[thing] = name
    if not groups:
        raise UserError(_no_file(path, root, suffixes))
    splits = name_splits(names, path)
    partitions = sorted({f.parent.name for group in groups.values() for f in group})
    partitions = [name for name in partitions if "=" in name]
    if partitions:
        what = "columns that folders are named after"
        account.note("left out", what, ", ".join(partitions[:SHOWN]))
    for thing, group in groups.items():
        if len(group) > 1:
            where = group[0].relative_to(root).as_posix()
            account.note("joined", f"files of {splits[thing]!r}", where, len(group))
    return {splits[thing]: tuple(group) for thing, group in groups.items()}


def _is_seen(file: Path, root: Path) -> bool:
    """Returns whether no name on the way is hidden. Folders such as _temporary and _delta_log are
    of Spark and its like, and no part of the data.
    """
    *folders, name = file.relative_to(root).parts
    return not (is_hidden(name) or any(f.startswith("_") or is_hidden(f) for f in folders))


def _named_by(file: Path, root: Path) -> tuple[str, str]:
    """Returns what names the split of a file, the file without its number or a folder, and the
    name.
    """
    relative = file.relative_to(root)
    stem = _SHARD.sub("", file.stem)
    if is_split_name(stem):
        return (relative.parent / f"{stem}{file.suffix}").as_posix(), stem
    for folder in relative.parents[:-1]:
        if is_split_name(folder.name):
            return f"{folder.as_posix()}/", folder.name
    if not _PART.fullmatch(stem):
        return (relative.parent / f"{stem}{file.suffix}").as_posix(), stem
    folder = relative.parent
    if stem.isdecimal() and len(relative.parts) > 1 and not _PART.fullmatch(folder.name):
        return f"{folder.as_posix()}/", folder.name
    return f"*{file.suffix}", "train"


def _no_file(path: str, root: Path, suffixes: tuple[str, ...]) -> str:
    wanted = f"{path}: no {' or '.join(suffixes)} file there (data.source.path)"
    if root.is_dir():
        there = sorted(f.name for f in root.iterdir() if not is_hidden(f.name))
        return f"{wanted}; there are: {list_names(there, SHOWN)}" if there else wanted
    return wanted + name_nearest(root)
