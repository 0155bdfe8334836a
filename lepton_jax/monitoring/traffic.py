"""The examples that a model was asked: from files, from a folder of them, or kept by a server."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.prediction.inputs import gather_inputs
from lepton_jax.serving.loader import Bundle
from lepton_jax.serving.observed.requests import KeptRequest, KeptRequests

# N examples.

MOST_ROWS = 20_000
"""Rows of kept requests that are looked at: the newest ones."""


@dataclass(frozen=True)
class Traffic:
    """Examples with their answers, in their order."""

    source: str
    inputs: dict[str, np.ndarray]
    """By name [N, ...]."""
    outputs: dict[str, np.ndarray]
    times: Sequence[str]
    """When each came, or which it is."""

    def __len__(self) -> int:
        return len(self.times)


def read_files(bundle: Bundle, inputs: Sequence[str]) -> Traffic:
    """Reads files, or all files of folders, and answers them.

    Raises:
      UserError, InputError: when one is not what the bundle takes.
      BundleError: when the bundle cannot answer.
    """
    named = [path for source in inputs for path in _files_of(source)]
    raw = gather_inputs(bundle, named, 0)
    fields = {name: np.stack([r.fields[name] for r in raw]) for name in raw[0].fields}
    source = ", ".join(inputs[:3]) + (f" and {len(inputs) - 3} more" if len(inputs) > 3 else "")
    return Traffic(source, fields, bundle.predict(fields), [r.name for r in raw])


def read_kept(bundle: Bundle, folder: str) -> Traffic:
    """Reads the requests that a server kept, in the order in which they came.

    What another version answered is answered again by the bundle.

    Raises:
      UserError: when there are none.
      BundleError: when the bundle cannot answer.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--requests={folder}: there is no such folder")
    kept, requests, damaged = KeptRequests(folder), [], 0
    for path in kept:
        try:
            request = kept.read(path)
        except ValueError:
            damaged += 1
            continue
        if _fits(bundle, request):
            requests.append(request)
    if damaged:
        say(f"note: {damaged} requests in {folder} cannot be read and are left out")
    if not requests:
        raise UserError(f"--requests={folder}: there is no request that this bundle could answer")
    requests.sort(key=lambda r: r.time)
    times = [r.time for r in requests for _ in next(iter(r.inputs.values()))][-MOST_ROWS:]
    inputs = {
        k: np.concatenate([r.inputs[k] for r in requests])[-MOST_ROWS:] for k in requests[0].inputs
    }
    own = all(r.bundle == bundle.id and r.outputs.keys() == requests[0].outputs.keys()
              for r in requests)  # fmt: skip
    outputs = bundle.predict(inputs) if not own else {
        k: np.concatenate([r.outputs[k] for r in requests])[-MOST_ROWS:]
        for k in requests[0].outputs
    }  # fmt: skip
    first, last = times[0][:19], times[-1][:19]
    return Traffic(f"{len(times)} kept requests, {first} to {last}", inputs, outputs, times)


def _fits(bundle: Bundle, request: KeptRequest) -> bool:
    declared = bundle.signature["inputs"]
    if request.parameters is not None:  # these are prompts, of which a server compares its own
        return False
    return request.inputs.keys() == declared.keys() and all(
        str(x.dtype) == declared[k]["dtype"] and list(x.shape[1:]) == declared[k]["shape"]
        for k, x in request.inputs.items()
    )


def _files_of(source: str) -> list[str]:
    """Returns a file, or all files right below a folder, by name."""
    path = Path(os.path.expanduser(source))
    if not path.is_dir():
        return [source]
    files = sorted(str(p) for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise UserError(f"{source}: there is no file in this folder")
    return files
