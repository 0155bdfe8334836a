"""The same bytes by threads, by worker processes, and from any start."""

import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lepton_jax.data import loader
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.loader import make_loader
from lepton_jax.data.order import Order
from lepton_jax.data.sources.generated import generated_images
from tests.data import pipelines

STEPS = 30


@pytest.fixture(scope="module")
def train():
    """Memory-mapped columns, as a decoded set has them."""
    source = generated_images(examples=101)
    return load_dataset(
        source, decode=pipelines.read("rgb"), valid_fraction=0.0, split_seed=0
    ).splits["train"]


def order():
    return Order(101, 16, seed=3)


def bytes_of(batches):
    return [[(k, v.dtype.name, v.shape, v.tobytes()) for k, v in b.items()] for b in batches]


def by_hand(train, steps, positions=slice(None)):
    """What no stream has touched."""
    batches = []
    for k in steps:
        index = order().indices(k)[positions]
        batch = {name: column[index] for name, column in train.columns.items()}
        batches.append({**batch, "position": np.arange(16, dtype=np.int32)[positions]})
    return bytes_of(batches)


@pytest.mark.parametrize("workers", [0, 1, 3, None])
def test_any_number_of_workers_gives_the_same_bytes(train, workers):
    batches = make_loader(train, order(), 0, STEPS, workers=workers)
    assert bytes_of(batches) == by_hand(train, range(STEPS))
    assert batches.workers == (workers or 0)
    batches.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_any_start_goes_on_with_the_same_bytes(train, workers):
    batches = make_loader(train, order(), 17, STEPS, workers=workers)
    assert bytes_of(batches) == by_hand(train, range(17, STEPS))
    batches.close()


def test_shares_of_a_batch_keep_their_global_positions(train):
    for positions in (np.arange(8), np.arange(8, 16), np.array([1, 5, 6])):
        batches = make_loader(train, order(), 0, 5, workers=0, positions=positions)
        assert bytes_of(batches) == by_hand(train, range(5), positions)


def test_nothing_to_do_ends_at_once(train):
    assert list(make_loader(train, order(), 7, 7, workers=None)) == []


def test_stream_that_is_closed_early_ends(train):
    batches = make_loader(train, order(), 0, 10**9, workers=1)
    next(batches)
    batches.close()


def test_error_in_a_batch_reaches_the_caller(train):
    batches = make_loader(train, Order(200, 16, seed=3), 0, STEPS, workers=0)
    with pytest.raises(IndexError):
        list(batches)


def test_measuring_chooses_processes_only_where_they_are_faster(train, monkeypatch):
    rates = {0: 50.0}
    monkeypatch.setattr(loader, "_measure_rate", lambda batches: rates[batches.workers])
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for threads, processes, chosen in [(50.0, 100.0, 3), (50.0, 55.0, 0), (900.0, 0.0, 0)]:
        rates |= {0: threads, 3: processes}
        batches = make_loader(train, order(), 0, 1000, workers=None)
        batches.close()
        assert batches.workers == chosen


class Witness(Order):
    """Writes down which process asked, and whether JAX had started a backend in it."""

    folder: pathlib.Path

    def indices(self, step):
        from jax._src import xla_bridge

        started = xla_bridge.backends_are_initialized()
        (self.folder / f"{os.getpid()}").write_text(str(started))
        return super().indices(step)

    def __reduce__(self):
        return _witness, (self.folder,)


def _witness(folder):
    witness = Witness(101, 16, 3)
    witness.folder = folder
    return witness


def test_worker_processes_never_start_a_backend(train, tmp_path):
    batches = make_loader(train, _witness(tmp_path), 0, STEPS, workers=2)
    assert bytes_of(batches) == by_hand(train, range(STEPS))
    batches.close()
    witnesses = {file.name: file.read_text() for file in tmp_path.iterdir()}
    witnesses.pop(str(os.getpid()), None)  # which measures a batch
    assert len(witnesses) == 2
    assert set(witnesses.values()) == {"False"}


SCRIPT = """
import hashlib
from absl import flags
from lepton_jax.data.sources.generated import generated_images
from lepton_jax.data.order import Order
from lepton_jax.data.loader import make_loader

if __name__ == "__main__":
    assert not flags.FLAGS.is_parsed()
    train = generated_images(examples=101).splits["train"]
    digest = hashlib.sha256()
    for batch in make_loader(train, Order(101, 16, seed=3), 0, 30, workers=2):
        digest.update(b"".join(v.tobytes() for v in batch.values()))
    print(digest.hexdigest())
"""


def test_workers_start_outside_absl_app_too(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256()
    for batch in by_hand(generated_images(examples=101).splits["train"], range(30)):
        digest.update(b"".join(data for *_, data in batch))
    assert done.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize(
    ("lock", "free", "said"),
    [
        (OSError(30, "Read-only file system"), None, "cannot be used (Read-only file system)"),
        (OSError(38, "Function not implemented"), None, "cannot be used (Function not implemented"),
        (None, 0, "has 0 MB free, and 1 MB are needed"),
    ],
)
@pytest.mark.parametrize("workers", [2, None])
def test_without_shared_memory_the_batches_come_from_threads(
    train, monkeypatch, capsys, lock, free, said, workers
):
    class Context:
        def Lock(self):  # noqa: N802
            if lock:
                raise lock

    class Free:
        f_bavail, f_frsize = free, 1

    monkeypatch.setattr(loader.multiprocessing, "get_context", lambda kind: Context())
    monkeypatch.setattr(loader.os, "statvfs", lambda path: Free)
    monkeypatch.setattr(loader, "_FAST_ENOUGH", float("inf"))
    batches = make_loader(train, order(), 0, STEPS, workers=workers)
    assert batches.workers == 0
    assert bytes_of(batches) == by_hand(train, range(STEPS))
    assert (said in capsys.readouterr().err) == (workers is not None)
