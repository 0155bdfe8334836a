"""Changes records as a forger would: with every digest of what was changed made anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etils import epath

from lepton_jax.tracking.chain import Basis, Chain, split_lines
from lepton_jax.tracking.state_chain import StateFile, StateLink, next_link
from lepton_jax.training.checkpoint_files import DIGESTS, RECORD, digest_files, list_files

Row = dict[str, Any]


def rewrite_rows(workdir: Path, change: Callable[[Row], None]) -> None:
    """Changes rows of metrics.jsonl, and nothing that stands on them."""
    path = workdir / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def forge_rows(workdir: Path, change: Callable[[Row], None]) -> None:
    """Changes rows, and makes every chain, digest and copy of them anew."""
    rewrite_rows(workdir, change)
    lines = split_lines((workdir / "metrics.jsonl").read_bytes())
    for folder in (workdir / "checkpoints").iterdir():
        bases = json.loads((folder / RECORD).read_text())
        count = bases[0]["rows"]
        bases[0]["metrics"] = b"".join(lines[:count]).decode()
        bases[0]["digest"] = Chain().digest(lines, count)
        (folder / RECORD).write_text(json.dumps(bases))
        seal(folder)
    forged: list[StateLink] = []
    for link in StateFile(str(workdir)).links():
        basis = Basis(link.step, link.rows, Chain().digest(lines, link.rows), "", {})
        forged.append(next_link(forged, basis, link.state, link.leaves))
    (workdir / "states.jsonl").write_bytes(b"".join(link.line for link in forged))
    status = json.loads((workdir / "status.json").read_text())
    status["digest"] = Chain().digest(lines, len(lines))
    (workdir / "status.json").write_text(json.dumps(status))


def forge_state(workdir: Path, step: int, of: int) -> None:
    """Puts the checkpoint of another step in the place of one, with every digest made anew."""
    folder = workdir / "checkpoints" / str(step)
    own = (folder / RECORD).read_bytes()
    shutil.rmtree(folder)
    shutil.copytree(workdir / "checkpoints" / str(of), folder)
    (folder / RECORD).write_bytes(own)
    seal(folder)
    links = StateFile(str(workdir)).links()
    false = next(link for link in links if link.step == of)
    forged: list[StateLink] = []
    for link in links:
        shown = false if link.step == step else link
        basis = Basis(link.step, link.rows, link.metrics, "", {})
        forged.append(next_link(forged, basis, shown.state, shown.leaves))
    (workdir / "states.jsonl").write_bytes(b"".join(link.line for link in forged))


def seal(folder: Path) -> None:
    """Makes the digests of a checkpoint's files anew."""
    path = epath.Path(folder)
    (folder / DIGESTS).write_text(json.dumps(digest_files(path, list_files(path))))


def flip_byte(folder: Path) -> Path:
    """Flips a byte of the largest file of a checkpoint, and returns the file."""
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(bytes(data))
    return largest
