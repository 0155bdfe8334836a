"""What a folder with kept requests holds, and the deletion of single ones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.console import format_command, format_table
from lepton_jax.errors import UserError
from lepton_jax.formats import count_things
from lepton_jax.serving.observed.feedback import OF_TEXTS
from lepton_jax.serving.observed.interval import wilson_interval
from lepton_jax.serving.observed.requests import KeptRequest, KeptRequests


@dataclass
class KeptVersion:
    """What is kept of the answers of one version."""

    model: str
    version: str
    bundle: str
    requests: int = 0
    rows: int = 0
    labelled: int = 0
    """Rows whose truth is known."""
    right: int = 0
    """Those that were answered right."""
    first: str = ""
    """The time of the first request."""
    last: str = ""

    def add(self, request: KeptRequest, classes: tuple[str, ...]) -> None:
        """Counts a request of this version."""
        self.requests += 1
        self.rows += len(next(iter(request.inputs.values())))
        self.first = min(self.first or request.time, request.time)
        self.last = max(self.last, request.time)
        said = request.outputs.get("label")
        if request.parameters is not None:
            self.labelled += sum(label is not None for label in request.labels)
            self.right += sum(label == OF_TEXTS[1] for label in request.labels)
        elif said is not None and said.ndim == 1:
            pairs = [(i, label) for i, label in enumerate(request.labels) if label is not None]
            self.labelled += len(pairs)
            self.right += sum(0 <= said[i] < len(classes) and classes[said[i]] == label
                              for i, label in pairs)  # fmt: skip


@dataclass(frozen=True)
class RequestFolder:
    """What is kept in a folder."""

    folder: str
    versions: tuple[KeptVersion, ...]
    damaged: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rows = [("version", "requests", "rows", "labelled", "accuracy", "from", "to")]
        rows += [
            (f"{v.model}/{v.version}", f"{v.requests:,}", f"{v.rows:,}", f"{v.labelled:,}",
             _accuracy(v), v.first[:19], v.last[:19])
            for v in self.versions
        ]  # fmt: skip
        lines = format_table(rows, right=(1, 2, 3))
        lines += [f"damaged: {fault}" for fault in self.damaged]
        then = format_command("replay-log", requests=self.folder)
        if labelled := [v.model for v in self.versions if v.labelled]:
            then = format_command(
                "improve", model=labelled[-1], requests=self.folder, workdir="DIR"
            )
        return "\n".join([*lines, f"next: {then}"])


@dataclass(frozen=True)
class DeletedRequests:
    """Requests that were deleted."""

    deleted: tuple[str, ...]
    absent: tuple[str, ...]
    """Ids that no folder had."""

    @property
    def ok(self) -> bool:
        return not self.absent

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"deleted with their labels: {count_things(len(self.deleted), 'request')}"]
        return "\n".join([*lines, *(f"no request {name!r} is kept" for name in self.absent)])


def summarize_requests(folder: str) -> RequestFolder:
    """Counts what is kept in a folder, by version. Raises `UserError` when nothing is."""
    kept = KeptRequests(folder)
    found: dict[str, KeptVersion] = {}
    damaged = []
    for file in kept:
        try:
            request = kept.read(file)
            classes = kept.bundle(request.bundle).labels
        except ValueError as e:
            damaged.append(str(e))
            continue
        name = f"{request.model}/{request.version} {request.bundle}"
        if name not in found:
            found[name] = KeptVersion(request.model, request.version, request.bundle)
        found[name].add(request, classes)
    if not found and not damaged:
        raise _nothing(folder)
    versions = tuple(sorted(found.values(), key=lambda v: v.first))
    return RequestFolder(folder, versions, tuple(damaged))


def delete_requests(folders: Sequence[str], ids: Sequence[str]) -> DeletedRequests:
    """Deletes requests by their ids from folders. Raises `UserError` for a folder without any."""
    there = [KeptRequests(folder) for folder in folders]
    for kept in there:
        if not kept.folder.is_dir():
            raise _nothing(str(kept.folder))
    found = {name: sum(kept.delete(name) for kept in there) for name in ids}
    absent = tuple(name for name, copies in found.items() if not copies)
    return DeletedRequests(tuple(name for name in found if name not in absent), absent)


def _accuracy(version: KeptVersion) -> str:
    interval = wilson_interval(version.right, version.labelled)
    if interval is None:
        return "-"
    return f"{version.right / version.labelled:.4f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _nothing(folder: str) -> UserError:
    return UserError(
        f"{folder}: no request is kept there; expected a folder that `serve --keep_requests=DIR` "
        "writes"
    )
