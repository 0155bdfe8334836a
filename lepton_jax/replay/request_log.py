"""Answers kept requests again, and compares the answers to the bit.

They are answered as a server answers them: in the batch sizes of which every answer has equal bytes
on this machine.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.errors import UserError, WorkError, list_names
from lepton_jax.registry.bundles import open_bundle
from lepton_jax.registry.store import Registry
from lepton_jax.serving import loader
from lepton_jax.serving.batches.batcher import BatchRules
from lepton_jax.serving.completions.again import write_again
from lepton_jax.serving.completions.begun import read_tokens
from lepton_jax.serving.live.answer import find_different
from lepton_jax.serving.live.served import ServedModel
from lepton_jax.serving.observed.requests import KeptRequest, KeptRequests

SHOWN = 10
"""Requests that are named, at most."""

_AT_ONCE = 64
"""Requests that are read and asked at the same time."""

_TEXTS_AT_ONCE = 4
"""Requests of texts among them: each has 16 texts at most, and a writer takes 64."""


@dataclass
class ReplayedLog:
    """What came of answering kept requests again."""

    folder: str
    by: str
    """What answered: 'digits/2 from the registry'; '' where each bundle answered its own."""
    requests: int = 0
    rows: int = 0
    equal: int = 0
    """Requests whose answers have the same bytes."""
    decisions: int = 0
    """Rows with another class, or other objects, tokens or numbers."""
    different: tuple[str, ...] = ()
    """The ids of requests whose answers differ, the first of them."""
    labelled: int = 0
    """Rows whose truth is known."""
    right_before: int = 0
    right_now: int = 0
    damaged: tuple[str, ...] = ()
    """Files that cannot be read, and why."""
    unwritten: dict[str, int] = field(default_factory=dict)
    """How many requests of texts were not written again, by the reason."""

    @property
    def ok(self) -> bool:
        """Whether each bundle answered as it did; another bundle may answer otherwise."""
        again = not self.damaged and not self.unwritten
        return again and (bool(self.by) or self.equal == self.requests)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        by = self.by or "the bundles that answered them"
        lines = [
            f"{self.requests:,} requests with {self.rows:,} rows answered again by {by}:",
            f"  {self.equal:,} requests with the same bytes; {self.decisions:,} rows with another "
            "decision",
        ]
        if self.different:
            lines.append(f"  different: {list_names(self.different, SHOWN)}")
        if self.labelled:
            lines.append(
                f"  of {self.labelled:,} rows whose truth is known, {self.right_before:,} were "
                f"right, {self.right_now:,} are now"
            )
        lines += [f"  damaged: {fault}" for fault in self.damaged]
        lines += [
            f"  {count:,} requests of texts are not written again: {why}"
            for why, count in self.unwritten.items()
        ]
        return "\n".join(lines)


def replay_requests(folder: str, bundle: str = "", model: str = "") -> ReplayedLog:
    """Answers the requests in a folder again.

    Args:
      bundle, model: what answers, as for `predict`; '': for each request the bundle that answered
        it, from the registry.

    Raises:
      UserError: when no request is kept there, or a bundle is not at hand.
      WorkError: when a bundle does not answer.
    """
    kept = KeptRequests(folder)
    files: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    damaged = []
    for file in kept:
        try:
            request = kept.read(file)
        except ValueError as e:
            damaged.append(str(e))
            continue
        files[request.model, request.bundle, request.program].append(file)
    if not files and not damaged:
        raise UserError(
            f"--requests={folder}: no request is kept there; expected a folder that `serve "
            "--keep_requests=DIR` writes"
        )
    log = ReplayedLog(folder, "", damaged=tuple(damaged))
    try:
        for (name, identity, program), of_program in files.items():
            if bundle or model:
                loaded, log.by = open_bundle(bundle or None, model or None, "")
                if loaded.id == identity:  # then by the same program
                    loaded, _ = open_bundle(bundle or None, model or None, program)
            else:
                loaded, _ = open_bundle(None, _find_version(name, identity), program)
            _replay(log, kept, of_program, loaded)
    except loader.InputError as e:
        raise UserError(f"--requests={folder}: {e}") from None
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    return log


def _find_version(model: str, identity: str) -> str:
    """Finds the version of a model that is the bundle of an id."""
    registry = Registry()
    there = registry.versions(model) if model in registry.models() else []
    name = next((v.name for v in there if v.id == identity), "")
    if not name:
        raise UserError(
            f"the bundle {identity[:19]} of {model}, which answered some of the requests, is not "
            "in the registry; give it, --bundle=DIR"
        )
    return name


def _replay(log: ReplayedLog, kept: KeptRequests, files: list[Path], bundle: loader.Bundle) -> None:
    """Answers the requests in some files, and counts how that went."""

    async def answer_all() -> None:
        served = await asyncio.to_thread(ServedModel, "replayed", "", bundle, BatchRules(1 << 30))
        texts = asyncio.Semaphore(_TEXTS_AT_ONCE)
        try:
            for start in range(0, len(files), _AT_ONCE):
                requests = [kept.read(file) for file in files[start : start + _AT_ONCE]]
                answers = await asyncio.gather(*(_answer(served, r, texts) for r in requests))
                for request, outputs in zip(requests, answers, strict=True):
                    if isinstance(outputs, str):
                        log.unwritten[outputs] = log.unwritten.get(outputs, 0) + 1
                    else:
                        _count(log, request, outputs, tuple(bundle.labels))
        finally:
            await served.close()

    asyncio.run(answer_all())


async def _answer(
    served: ServedModel, request: KeptRequest, texts: asyncio.Semaphore
) -> Mapping[str, np.ndarray] | str:
    """Answers a request again; or says why its texts cannot be written again."""
    if request.parameters is None:
        return (await served.answer(request.inputs, float("inf"))).outputs
    if served.writer is None:
        return f"the program {served.bundle.program!r} of this bundle goes on with no text"
    async with texts:
        try:
            written = await write_again(
                served.bundle, served.writer, request.inputs, request.parameters
            )
            if len(read_tokens(request.outputs)) == len(read_tokens(written)):
                return written
        except (LookupError, TypeError, ValueError):  # a file may say what no server wrote
            pass
    return "what is kept of them are no prompts and texts"


def _count(
    log: ReplayedLog,
    request: KeptRequest,
    outputs: Mapping[str, np.ndarray],
    classes: tuple[str, ...],
) -> None:
    rows = len(next(iter(request.inputs.values())))
    log.requests += 1
    log.rows += rows
    if _same_bytes(request.outputs, outputs):
        log.equal += 1
    elif len(log.different) < SHOWN:
        log.different += (request.id,)
    if request.parameters is None:
        log.decisions += int(find_different(request.outputs, outputs).sum())
    else:
        texts = zip(read_tokens(request.outputs), read_tokens(outputs), strict=True)
        log.decisions += sum(before != now for before, now in texts)
    before, now = request.outputs.get("label"), outputs.get("label")
    if before is None or now is None or not classes:
        return
    for i, label in enumerate(request.labels):
        if label in classes:
            number = classes.index(label)
            log.labelled += 1
            log.right_before += int(before[i] == number)
            log.right_now += int(now[i] == number)


def _same_bytes(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        (a := one[name]).dtype == (b := other[name]).dtype
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
        for name in one
    )
