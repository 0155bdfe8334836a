"""A disk that fills at any write, and then has room again: the same command loses nothing."""

import errno
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lepton_jax
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.tracking.chain import Basis
from lepton_jax.tracking.record import Record
from tests.laws import assert_same_run
from tests.tracking.test_chain import CONFIG, RECIPE, log

STEPS, EVERY = 12, 4
TORN = 100
"""Bytes that still fit when the disk is full."""


@contextmanager
def full_from(write: int, writes: int = 10**6) -> Iterator[None]:
    """Lets the disk be full from this write of a file on, for so many writes."""
    count = itertools.count(1)
    replace: Callable[..., Any] = files.replace_file

    @contextmanager
    def limited(path: Any) -> Iterator[Any]:
        full = write <= next(count) < write + writes
        with replace(path) as file:
            yield Full(file) if full else file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "replace_file", limited)
        yield


def complaint(act: Callable[[], None], write: int, writes: int = 10**6) -> str:
    """Returns what `act` says when the disk is full from this write on; '' where all fits."""
    try:
        with full_from(write, writes):
            act()
    except (UserError, WorkError) as e:
        return str(e)
    return ""


class Full:
    """A file on a full disk: it takes a few bytes."""

    def __init__(self, file: Any):
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.write(data[:TORN])
        raise OSError(errno.ENOSPC, "No space left on device")


def live(workdir: Path) -> None:
    """Takes a record to its end as a run does, from its last checkpoint if there is one."""
    saved = workdir / "checkpoint.json"
    basis = Basis(**files.read_json(saved)) if saved.exists() else None
    start = basis.step if basis else 0
    if Record.exists(workdir):
        record = Record.open(workdir)
        record.resume(start, CONFIG, {}, basis)
    else:
        record = Record.create(workdir, CONFIG, {})
    for step in range(start + 1, STEPS + 1):
        log(record, range(step, step + 1))
        record.time(step, {"seconds": 1.0})
        if step % EVERY == 0:
            record.flush()
            files.write_json(saved, record.basis(step, RECIPE).as_json())
    record.write_results("test", {"accuracy": 0.5})
    record.write_results("checkpoint", {"step": STEPS})
    record.end("finished", STEPS)
    record.close()


def contents(workdir: Path) -> list[bytes]:
    names = ("metrics.jsonl", "results.json", "config.json", "checkpoint.json")
    return [(workdir / name).read_bytes() for name in names]


@pytest.mark.parametrize("write", range(1, 16))
@pytest.mark.parametrize("writes", [1, 10**6], ids=["once", "from then on"])
def test_a_disk_that_fills_at_any_write_loses_no_row(tmp_path: Path, write: int, writes: int):
    live(tmp_path / "whole")
    said = complaint(lambda: live(tmp_path / "w"), write, writes)
    assert bool(said) == (write <= 14)  # an unbroken record makes so many writes
    if said:
        assert "the disk is full" in said
        assert "\n" not in said
        assert not any(".part" in path.name for path in (tmp_path / "w").iterdir())
        live(tmp_path / "w")
    assert contents(tmp_path / "w") == contents(tmp_path / "whole")


FLAGS = {
    "train_for": "12 steps", "evaluate_every": "4 steps", "checkpoint_every": "2 steps",
    "log_every": "1 steps", "keep_last": "2", "writers": "{}",
}  # fmt: skip


def train(workdir: Path) -> None:
    lepton_jax.train("configs/digits_cnn.py:tiny", str(workdir), overrides=FLAGS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("disk") / "whole"
    train(workdir)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("write", range(1, 31))
def test_a_run_on_a_disk_that_was_full_ends_with_the_same_bytes(
    whole: Path, tmp_path: Path, write: int
):
    assert complaint(lambda: train(tmp_path / "w"), write).count("\n") <= 2
    train(tmp_path / "w")
    assert_same_run(whole, tmp_path / "w", 12)
