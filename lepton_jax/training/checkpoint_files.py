"""The files of a checkpoint on the disk, without Orbax and without JAX.

    checkpoints/STEP/                what Orbax wrote, asynchronously, and committed as a whole
    checkpoints/STEP/record.json     the rows and the config that it stands on (tracking/chain.py)
    checkpoints/STEP/digests.json    SHA-256 of every file of it, committed with it

Orbax restores a file with a flipped byte without a word, hence the digests. Its manager would begin
JAX's backends, which all processes of a run have to do at once.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from etils import epath

from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.chain import Basis

READERS = 4
DIGESTS = "digests.json"
RECORD = "record.json"
WRITTEN_LAST = (DIGESTS, "_CHECKPOINT_METADATA", "commit_success.txt")
"""Files of a step that change in the commit itself; nothing is restored from them."""


def list_steps(workdir: str) -> list[int]:
    """Lists the steps of a run's checkpoints."""
    folder = files.join_path(workdir, "checkpoints")
    names = files.list_folder(folder) if files.is_dir(folder) else []
    return sorted(int(name) for name in names if name.isdigit())


def newest_basis(workdir: str) -> Basis | None:
    """Reads what the newest checkpoint of a run stands on; None where none says."""
    folder = epath.Path(files.join_path(workdir, "checkpoints"))
    for step in reversed(list_steps(workdir)):
        if basis := read_basis(folder, step):
            return basis
    return None


def read_basis(checkpoints: epath.Path, step: int, run: int = 0) -> Basis | None:
    """Reads record.json of a step in a folder of checkpoints.

    None where there is none, as in those of lepton_jax 0.1, or where its digest does not fit.
    """
    folder = checkpoints / str(step)
    if not ((folder / RECORD).exists() and (folder / DIGESTS).exists()):
        return None
    try:
        digests = files.read_object(folder / DIGESTS)
        if digests.get(RECORD) != digest_files(folder, [RECORD])[RECORD]:
            return None
        basis = files.read_json(folder / RECORD)[run]
    except WorkError:
        return None  # whoever restores the checkpoint is told of the damage
    return basis and Basis(**basis)


def find_damage(folder: epath.Path, share: slice = slice(None)) -> str:
    """Says what is wrong with the files of the checkpoint in a folder; '' when nothing is.

    `share`: the files that are read; all of them are looked for.
    """
    if not (folder / DIGESTS).exists():
        return f"it has no {DIGESTS}"
    try:
        expected = files.read_object(folder / DIGESTS)
    except WorkError:
        return f"its {DIGESTS} is damaged"
    files_there = list_files(folder)
    for name in sorted(set(expected) | set(files_there)):
        if name not in files_there:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} does not belong to it"
    basis = read_basis(folder.parent, int(folder.name))
    if basis and basis.step != int(folder.name):
        return f"it is of step {basis.step}"
    for name, digest in digest_files(folder, sorted(files_there)[share]).items():
        if digest != expected[name]:
            return f"{name} has changed since it was written"
    return ""


def list_files(folder: epath.Path) -> list[str]:
    """Lists the files of a checkpoint, relative to it, without those of its commit."""
    return sorted(
        str(path.relative_to(folder))
        for path in _files_below(folder)
        if not (path.parent == folder and path.name in WRITTEN_LAST)
    )


def digest_files(folder: epath.Path, names: Sequence[str]) -> dict[str, str]:
    """Returns the SHA-256 of each of these files in a folder, by name."""

    def digest(name: str) -> str:
        sha256 = hashlib.sha256()
        with (folder / name).open("rb") as f:
            while block := f.read(1 << 20):
                sha256.update(block)
        return sha256.hexdigest()

    with ThreadPoolExecutor(READERS) as pool:  # hashing and reading let go of the interpreter
        return dict(zip(names, pool.map(digest, names), strict=True))


def _files_below(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path
