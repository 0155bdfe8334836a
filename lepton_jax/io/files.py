"""Reads and writes whole files, on a disk or in a bucket: the one layer below a record.

Every write replaces a whole file. On a disk a reader (or a kill) finds the old bytes or the new
ones, never a mixture; on a remote store it is one put. Nothing here appends, renames or locks on
a remote store, because buckets cannot.

Every `OSError` becomes one sentence that names the path: a `UserError` where the path itself is
the mistake (not writable, not a folder, absent), a `WorkError` where the machine gave up (disk
full, input/output error).
"""

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from etils import epath

from lepton_jax.errors import UserError, WorkError, list_names
from lepton_jax.io.atomic import is_leftover, replace_file
from lepton_jax.io.forms import check_object, object_of_pairs
from lepton_jax.nearest import find_nearest

Path = str | os.PathLike[str]

_MISTAKES = {
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENOENT: "there is no such file or folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "it is a symbolic link to itself",
}
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached",
}


def is_local(path: Path) -> bool:
    """Tells whether `path` lies on a mounted file system, and not in `gs://` and the like."""
    return "://" not in os.fspath(path)


def join_path(folder: Path, *names: str) -> str:
    """Joins names to a folder with '/'; the folder may be local or remote."""
    return os.fspath(_path(folder).joinpath(*names))


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file with `data`; when this returns, a kill or a crash does not undo it.

    Raises:
      UserError: when this user cannot write there.
      WorkError: when the disk is full. In both cases the old file is untouched.
    """
    with _naming(path, "write"):
        if is_local(path):
            with replace_file(path) as file:
                file.write(data)
        else:
            _path(path).write_bytes(data)


def append_bytes(path: Path, data: bytes) -> None:
    """Appends to a local file. A power cut may leave it torn, and what is torn must be readable."""
    if not is_local(path):
        raise ValueError(f"{os.fspath(path)}: remote files are only ever replaced")
    with _naming(path, "write"), open(path, "ab") as f:
        f.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON; `replace_non_finite` makes it fit for that.

    Raises:
      ValueError: when there is a NaN or an infinity in it.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_bytes(path: Path) -> bytes:
    with _naming(path, "read"):
        return _path(path).read_bytes()


def read_text(path: Path) -> str:
    """Reads UTF-8, with or without a mark of the order of its bytes.

    Raises:
      WorkError: when the file holds something else.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise WorkError(f"{os.fspath(path)} is damaged: byte {e.start} is not UTF-8") from e


def read_json(path: Path) -> Any:
    """Reads JSON. Raises `WorkError` when the file holds none, or a key twice."""
    try:
        return json.loads(read_text(path), object_pairs_hook=object_of_pairs)
    except (ValueError, RecursionError) as e:
        raise WorkError(f"{os.fspath(path)} is damaged: it is not JSON ({e})") from e


def read_object(
    path: Path, *, cure: str = "Put the file back", each: Any = None, **keys: Any
) -> dict[str, Any]:
    """Reads a JSON object of a given form.

    Main arguments:
      cure: what to do about a file that is damaged, as a sentence without its full stop.
      each: the type of every value.
      keys: the types of the keys that it must have: `step=int`, `trials=list[dict]`, one of the
        texts of a Literal; `int | None` lets a key be absent.

    Raises:
      UserError: when the file cannot be read.
      WorkError: naming what is damaged, and the cure.
    """
    try:
        value = read_json(path)
        keys = keys or dict.fromkeys(value if isinstance(value, dict) else (), each or Any)
        check_object(value, os.fspath(path), **keys)
    except WorkError as e:
        raise WorkError(f"{e}. {cure}") from None
    return value


def exists(path: Path) -> bool:
    with _naming(path, "look at"):
        return _path(path).exists()


def is_dir(path: Path) -> bool:
    with _naming(path, "look at"):
        return _path(path).is_dir()


def list_folder(path: Path) -> list[str]:
    """Lists the names in a folder, sorted, without what an interrupted write left behind."""
    with _naming(path, "list"):
        return sorted(p.name for p in _path(path).iterdir() if not is_leftover(p.name))


def name_nearest(path: Path, holding: str = "") -> str:
    """Suggests what lies beside a path that is not there: ` (did you mean 'digits'?)`, or ''.

    Where its folder is not there either, it says so: ` (nor a folder runs)`. `holding`: see
    `find_nearest_path`.
    """
    folder = os.path.dirname(os.fspath(path).rstrip("/"))
    if nearest := find_nearest_path(path, holding):
        shown = nearest if os.path.dirname(nearest) != folder else os.path.basename(nearest)
        return f" (did you mean {shown!r}?)"
    if is_local(path) and folder and not os.path.isdir(folder):
        return f" (nor a folder {folder})"
    return ""


def list_beside(path: Path) -> str:
    """Lists what lies in the folder of a path that is not there, for the end of a sentence:
    `; runs holds: digits, other`. Files of the same kind come alone where there are any.
    """
    folder, name = os.path.split(os.fspath(path).rstrip("/"))
    suffix = os.path.splitext(name)[1]
    with contextlib.suppress(OSError):
        there = sorted(n for n in os.listdir(folder or ".") if not n.startswith("."))
        alike = [n for n in there if suffix and n.endswith(suffix)] or there
        return f"; {folder or 'this folder'} holds: {list_names(alike, most=6)}" if alike else ""
    return f"; there is no folder {folder}"


def find_nearest_path(path: Path, holding: str = "") -> str | None:
    """Finds what was probably meant by a local path that is not there, or holds nothing; or None.

    It lies beside it, above it, or has the same name in `runs/`. `holding`: a folder that has a
    file of this name, such as config.json.
    """
    folder, name = os.path.split(os.fspath(path).rstrip("/"))
    if not name or not is_local(path) or (os.path.exists(path) and not holding):
        return None

    def fits(candidate: str) -> bool:
        return not holding or os.path.exists(os.path.join(candidate, holding))

    if folder and not os.path.isdir(folder) and (meant := find_nearest_path(folder)):
        below = os.path.join(meant, name)
        return below if os.path.exists(below) and fits(below) else None
    with contextlib.suppress(OSError):
        there = [n for n in os.listdir(folder or ".") if fits(os.path.join(folder, n))]
        if nearest := find_nearest(name, [n for n in there if n != name]):
            return os.path.join(folder, nearest)
    above = folder
    while holding and above and above != os.path.dirname(above):
        if fits(above):
            return above
        above = os.path.dirname(above)
    below = os.path.join("runs", name)
    return below if holding and not folder and os.path.exists(below) and fits(below) else None


def find_folder(path: Path) -> str:
    """Returns the nearest folder above a path that is there, or one of nearly its name."""
    folder = os.path.dirname(os.fspath(path).rstrip("/"))
    while folder and is_local(path) and not os.path.isdir(folder):
        folder = find_nearest_path(folder) or os.path.dirname(folder)
    return folder or "."


def check_can_make(folder: Path) -> None:
    """Checks, without a change, that a local folder is there to be written to, or can be made.

    Raises:
      UserError: naming the folder or file that is in the way.
    """
    if not is_local(folder):
        return
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise UserError(
            f"cannot create {os.fspath(folder)}: {there} is no folder; choose another path"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write {os.fspath(folder)}: {there}: permission denied; choose another path, "
            f"or let yourself write there: chmod u+wx {there}"
        )


def make_dir(path: Path) -> None:
    """Creates a folder and those above it; it may exist."""
    with _naming(path, "create"):
        _path(path).mkdir(parents=True, exist_ok=True)


def make_new_dir(path: Path) -> bool:
    """Creates a folder and those above it. Returns False where something is there already.

    On a disk, of several processes one alone gets True.
    """
    with _naming(path, "create"):
        if not is_local(path):
            return not _path(path).exists()
        try:
            os.makedirs(path)
        except FileExistsError:
            return False
        return True


def remove_empty_dir(path: Path) -> None:
    """Removes a local folder, unless there is something in it."""
    if is_local(path):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def remove(path: Path) -> None:
    """Removes a file; it may be absent."""
    with _naming(path, "remove"):
        _path(path).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left in a folder. Only the folder's owner may call this."""
    if is_local(folder):
        with _naming(folder, "tidy"):
            for name in filter(is_leftover, os.listdir(folder)):
                os.remove(os.path.join(folder, name))


def replace_non_finite(value: Any, by: Literal["text", "null"] = "text") -> Any:
    """Replaces NaN and the infinities, which JSON lacks, in nested mappings and lists.

    Args:
      by: 'text' says which number it was: 'nan', 'inf' and '-inf', which `float()` reads back.
        'null' is for a reader that expects a number or none.
    """
    if isinstance(value, Mapping):
        return {k: replace_non_finite(v, by) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(v, by) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value) if by == "text" else None
    return value


def json_bytes(value: Any) -> bytes:
    """Returns a JSON file whose bytes depend on its content alone: the keys are sorted, and NaN
    and the infinities are null.
    """
    finite = replace_non_finite(value, by="null")
    return (json.dumps(finite, indent=1, sort_keys=True) + "\n").encode()


def _path(path: Path) -> epath.Path:
    try:
        return epath.Path(path)
    except KeyError:
        scheme = os.fspath(path).split("://")[0]
        raise UserError(
            f"{os.fspath(path)}: no way to reach {scheme}:// paths; there are gs, s3 and az"
        ) from None


@contextmanager
def _naming(path: Path, doing: str) -> Iterator[None]:
    where = os.fspath(path)
    try:
        yield
    except OSError as e:
        code = e.errno or 0
        if code in _MISTAKES:
            raise UserError(f"cannot {doing} {where}: {_MISTAKES[code]}") from e
        if code in _FULL:
            raise WorkError(
                f"cannot {doing} {where}: {_FULL[code]}. The old file is intact; "
                "make room, then run the same command again"
            ) from e
        raise WorkError(f"cannot {doing} {where}: {e.strerror or e}") from e
    except ImportError as e:
        raise UserError(f"cannot {doing} {where}: this kind of path needs a package ({e})") from e
