"""Kept requests: a folder with what was asked and what was answered, a file for each request.

    FOLDER/2026-11-29/DIGEST.safetensors   inputs, outputs, and what answered when
    FOLDER/2026-11-29/DIGEST.json          the true labels, where somebody told them
    FOLDER/bundles/ID.json                 what each bundle takes and the names of its classes

DIGEST is of the request's id, which a client may choose, so that no id is a path. A file is written
beside its place and moved there: a kill leaves a whole file or none.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UNREADABLE
from ..files import MAX_JSON, parse_json
from ..programs import parse_arrays

FORMAT = 2
"""The newest form of these files that this reader knows: texts that were written have it, and other
requests have form 1, which older readers know too."""

MOST_BYTES = 1 << 28
"""Bytes of a request that are read, at most."""

WORDS = ("id", "time", "model", "version", "bundle", "program")
"""The fields of a request that are texts."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ENDING = ".safetensors"
_PART = ".part"
_STALE_S = 3600.0
"""Seconds after which a file that was not moved to its place is of a process that was killed."""


@dataclass(frozen=True)
class KeptRequest:
    """A request and its answer. Arrays are `[B, ...]`, with one row for each example."""

    id: str
    time: str
    """When it was answered, '2026-11-29T14:04:27.123Z'."""
    model: str
    version: str
    bundle: str
    """The id of the bundle that answered, 'sha256:...'."""
    program: str
    """Which of its programs: 'onnx'."""
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    parameters: Mapping[str, Any] | None = None
    """By which texts were written, as `CompletionRequest.parameters` returns them: `inputs` are the
    prompts then, and `outputs` what was written. None of any other request."""
    labels: tuple[str | None, ...] = field(default=())
    """The true class of each example by its name; None where it is not known, () where none is."""
    labelled: str = ""
    """When that was told; '' where it was not."""

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in (*self.inputs.values(), *self.outputs.values()))


@dataclass(frozen=True)
class KeptBundle:
    """What is kept of a bundle that answered."""

    id: str
    labels: tuple[str, ...]
    inputs: Mapping[str, Any]
    """As its signature declares them: `{'image': {'dtype': 'uint8', 'shape': [8, 8, 1]}}`."""


class KeptRequests:
    """The kept requests in a folder, which may not be there yet. Several processes may share it."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def __iter__(self) -> Iterator[Path]:
        """Yields the file of each request: by day, and within a day in the order of the digests."""
        for day in self._days():
            yield from sorted(_requests_of(day))

    def labelled(self, most: int, most_bytes: int) -> list[Path]:
        """Lists the files of the requests whose labels were told last, in that order: so many, and
        of so many bytes together.
        """
        labels = [
            p for day in self._days() for p in day.glob("*.json") if not p.name.startswith(".")
        ]
        found: list[Path] = []
        for path in sorted(labels, key=_written, reverse=True)[:most]:
            most_bytes -= _size(path.with_suffix(_ENDING))
            if most_bytes < 0:
                break
            found.append(path.with_suffix(_ENDING))
        return found[::-1]

    def newest(self, most: int) -> list[Path]:
        """Lists the files of the requests that were written last, the newest first."""
        found: list[Path] = []
        for day in reversed(self._days()):
            found += sorted(_requests_of(day), key=_written, reverse=True)
            if len(found) >= most:
                break
        return found[:most]

    def write(self, request: KeptRequest) -> int:
        """Writes a request; one whose id is there is left as it is. Returns the bytes written.

        Raises:
          OSError, TypeError: when it cannot be written, or holds what no safetensors file does.
        """
        from safetensors.numpy import save

        if self._find(request.id):
            return 0
        said = {name: getattr(request, name) for name in WORDS}
        said |= {"format": 1}
        if request.parameters is not None:
            said |= {"parameters": dict(request.parameters), "format": 2}
        arrays = {f"inputs.{k}": np.ascontiguousarray(x) for k, x in request.inputs.items()}
        arrays |= {f"outputs.{k}": np.ascontiguousarray(x) for k, x in request.outputs.items()}
        text = save(arrays, {"request": json.dumps(said)})
        day = self.folder / request.time[:10]
        _write(day / f"{_digest(request.id)}{_ENDING}", text, sync=False)
        return len(text)

    def write_bundle(self, bundle: KeptBundle) -> None:
        """Writes what is kept of a bundle, once."""
        path = self._bundle_file(bundle.id)
        if not path.exists():
            said = {"id": bundle.id, "labels": list(bundle.labels), "inputs": dict(bundle.inputs)}
            _write(path, json.dumps({**said, "format": FORMAT}, indent=1).encode())

    def bundle(self, identity: str) -> KeptBundle:
        """Reads what is kept of a bundle. Raises `ValueError` when that is nothing."""
        said = _read_json(self._bundle_file(identity))
        try:
            return KeptBundle(
                str(said["id"]), tuple(map(str, said["labels"])), dict(said["inputs"])
            )
        except UNREADABLE as e:
            raise ValueError(f"{self._bundle_file(identity)}: {type(e).__name__}: {e}") from None

    def read(self, path: Path) -> KeptRequest:
        """Reads the request in a file, and its labels. Raises `ValueError` when it is damaged."""
        from safetensors import SafetensorError

        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")
            text = path.read_bytes()
            length = int.from_bytes(text[:8], "little")
            said = parse_json(parse_json(text[8 : 8 + length])["__metadata__"]["request"].encode())
            if type(said["format"]) is not int or not 1 <= said["format"] <= FORMAT:
                raise ValueError(f"format {said['format']!r:.20}; update lepton_jax")
            words: dict[str, Any] = {k: said[k] for k in WORDS}
            parameters = said.get("parameters")
            if not all(isinstance(word, str) for word in words.values()):
                raise TypeError("expected texts")
            if not isinstance(parameters, dict | None):
                raise TypeError("parameters: expected an object")
            groups: dict[str, Any] = {"inputs": {}, "outputs": {}}
            for name, array in parse_arrays(text).items():
                group, _, name = name.partition(".")
                groups[group][name] = array
            if len({len(x) for x in groups["inputs"].values()}) != 1:
                raise ValueError("its inputs have several numbers of rows")
        except (OSError, RecursionError, SafetensorError, *UNREADABLE) as e:
            raise ValueError(f"{path}: {type(e).__name__}: {e!s:.200}") from None
        labels, labelled = self._labels(path.with_suffix(".json"))
        return KeptRequest(
            **words, **groups, parameters=parameters, labels=labels, labelled=labelled
        )

    def find(self, request_id: str) -> KeptRequest | None:
        """Reads the request of an id; None where none is kept. Raises `ValueError` as `read`."""
        path = self._find(request_id)
        return self.read(path) if path else None

    def label(self, request_id: str, labels: Sequence[str | None]) -> bool:
        """Keeps the true labels of a request, in the place of earlier ones.

        Returns whether the request is kept. When this returns True, a kill or a power cut does not
        undo it.
        """
        path = self._find(request_id)
        if path is None:
            return False
        said = {"labels": list(labels), "time": utc_now(), "format": FORMAT}
        _write(path.with_suffix(".json"), json.dumps(said).encode())
        return True

    def delete(self, request_id: str) -> bool:
        """Deletes a request and its labels. Returns whether it was there."""
        path = self._find(request_id)
        if path is None:
            return False
        _delete(path)
        _sync(path.parent)
        return True

    def prune(self, days: int, most_bytes: int) -> int:
        """Deletes requests of more than so many days ago, then the oldest ones while all together
        have more than `most_bytes`. Returns the bytes that are left.
        """
        first = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")
        left: list[tuple[Path, int]] = []
        for day in self._days():
            self._sweep(day)
            files = sorted(_requests_of(day), key=_written)
            if day.name < first:
                for path in files:
                    _delete(path)
            else:
                left += [(path, _size(path)) for path in files]
            with suppress(OSError):  # of today, or not empty
                day.rmdir()
        total = sum(size for _, size in left)
        for path, size in left:
            if total <= most_bytes:
                break
            _delete(path)
            total -= size
        return total

    def _days(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _DAY.fullmatch(p.name) and p.is_dir())

    def _sweep(self, day: Path) -> None:
        """Deletes what killed processes did not finish, and labels whose request is gone."""
        for path in day.iterdir():
            old = _written(path) < datetime.now().timestamp() - _STALE_S
            alone = path.suffix == ".json" and not path.with_suffix(_ENDING).exists()
            if old and (alone or path.name.endswith(_PART)):
                with suppress(FileNotFoundError):
                    path.unlink()

    def _find(self, request_id: str) -> Path | None:
        name = f"{_digest(request_id)}{_ENDING}"
        # From the newest day: most are asked for on the day on which they were written.
        return next((d / name for d in reversed(self._days()) if (d / name).exists()), None)

    def _labels(self, path: Path) -> tuple[tuple[str | None, ...], str]:
        """Reads the labels of a request, and when they were told."""
        if not path.exists():
            return (), ""
        said = _read_json(path)
        labels, told = said.get("labels"), said.get("time")
        texts = labels if isinstance(labels, list) else [0]
        if not all(x is None or isinstance(x, str) for x in texts) or not isinstance(told, str):
            raise ValueError(f"{path}: expected a list of labels, and a time")
        return tuple(texts), told

    def _bundle_file(self, identity: str) -> Path:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", identity):
            raise ValueError(f"{identity!r:.80} is no id of a bundle")
        return self.folder / "bundles" / f"{identity.partition(':')[2]}.json"


def utc_now() -> str:
    """Returns the time to the millisecond: '2026-11-29T14:04:27.123Z'."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _digest(request_id: str) -> str:
    return hashlib.sha256(request_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _requests_of(day: Path) -> Iterator[Path]:
    """Yields the files of the requests of a day, in no order."""
    return (p for p in day.glob(f"*{_ENDING}") if not p.name.startswith("."))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("too large")
        said = parse_json(path.read_bytes())
        if not isinstance(said, dict):
            raise TypeError("expected an object")
        return said
    except (OSError, RecursionError, *UNREADABLE) as e:
        raise ValueError(f"{path}: {type(e).__name__}: {e!s:.200}") from None


def _write(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Writes a file that is there as a whole or not at all, also after a kill; with `sync` also
    after a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")
    try:
        with open(aside, "xb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if sync:
        _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(path: Path) -> None:
    """Deletes a request, its labels first: they alone would be no longer found."""
    for file in (path.with_suffix(".json"), path):
        file.unlink(missing_ok=True)


def _written(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
