"""Requests that a server kept and whose truth was told later: examples of the real traffic."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from lepton_jax.config.schema import PathText, Running
from lepton_jax.data.account import Account
from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError
from lepton_jax.serving.observed.requests import KeptBundle, KeptRequest, KeptRequests

Rows = list[tuple[dict[str, np.ndarray], int]]
"""The inputs of examples, without a batch axis, each with the number of its class."""


def requests(
    *, path: Running[PathText], test_fraction: Annotated[float, "in [0, 1]"] = 0.25
) -> Source:
    """Reads the labelled examples among kept requests, as `serve --keep_requests=DIR` writes them.

    The fields are the inputs of the bundle that answered last, and `label`. Whether an example is
    in 'test' depends on the id of its request alone, so that it stays there when more requests are
    kept.

    Keys:
      path: the folder.
      test_fraction: the share of the requests whose examples are 'test'.

    Raises:
      UserError: when no request there has a label.
    """
    kept, account = KeptRequests(path), Account()
    found = sorted(_read_labelled(kept, account), key=lambda request: request.time)
    if not found:
        raise UserError(
            f"{path}: no kept request has a label; expected what `serve --keep_requests={path}` "
            "keeps, with labels that clients told to /feedback"
        )
    newest = _bundle_of(kept, found[-1])
    splits: dict[str, Rows] = {"train": [], "test": []}
    for request in sorted(found, key=_drawn):
        if request.bundle != newest.id and _bundle_of(kept, request).inputs != newest.inputs:
            account.note("left out", "rows of bundles with other inputs", request.id)
            continue
        is_test = _drawn(request) < test_fraction * 2.0**32
        splits["test" if is_test else "train"] += _labelled_rows(request, newest.labels, account)
    digest, columns = hashlib.sha256(repr(newest.labels).encode()), {}
    for name, rows in splits.items():
        if rows:
            columns[name] = Columns(_stack(rows, newest.inputs, digest))
    return Source(
        columns,
        newest.labels,
        digest.hexdigest(),
        f"labelled requests in {path}",
        account=account,
    )


def _read_labelled(kept: KeptRequests, account: Account) -> list[KeptRequest]:
    found = []
    for file in kept:
        if not file.with_suffix(".json").exists():
            continue
        try:
            request = kept.read(file)
        except ValueError as e:
            account.note("left out", "files that are damaged", str(e))
            continue
        if request.parameters is not None:
            account.note("left out", "texts that were written", request.id)
            continue
        found.append(request)
    return found


def _bundle_of(kept: KeptRequests, request: KeptRequest) -> KeptBundle:
    try:
        return kept.bundle(request.bundle)
    except ValueError as e:
        raise UserError(f"the bundle that answered request {request.id!r}: {e}") from None


def _drawn(request: KeptRequest) -> int:
    """Returns a number of 32 bits that a request's id decides."""
    digest = hashlib.sha256(request.id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[-4:])


def _labelled_rows(request: KeptRequest, classes: tuple[str, ...], account: Account) -> Rows:
    rows: Rows = []
    for i, label in enumerate(request.labels):
        if label is None:
            continue
        if label not in classes:
            account.note("left out", "rows of other classes", f"{label!r} of {request.id}")
            continue
        rows.append(({k: x[i] for k, x in request.inputs.items()}, classes.index(label)))
    return rows


def _stack(rows: Rows, inputs: Mapping[str, Any], digest: Any) -> dict[str, np.ndarray]:
    """Returns examples as columns `[N, ...]`, and adds them to the digest."""
    columns = {name: np.stack([x[name] for x, _ in rows]) for name in sorted(inputs)}
    columns["label"] = np.array([label for _, label in rows], np.int32)
    for name, column in columns.items():
        digest.update(f"{name} {column.dtype.str} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return columns
