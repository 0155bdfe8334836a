"""Decoded once, found again, repaired when damaged, safe for two processes."""

import errno
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

from lepton_jax.data import cache
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError, WorkError
from tests.data import pipelines

EXAMPLES = 11


class Counted:
    """Examples that count how often they are read."""

    def __init__(self, examples=EXAMPLES):
        self.examples = examples
        self.reads = 0

    def __len__(self):
        return self.examples

    def __getitem__(self, i):
        self.reads += 1
        image = np.full((4, 4, 3), i, np.uint8)
        return {"image": image, "label": i, "box/size": np.float64(i) / 2, "id": b"text"}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(split, decode="resize(2)|grayscale", **identity):
    return cache.cached_columns(
        split, **{"name": "train", "fingerprint": "f", **identity}, decode=pipelines.read(decode)
    )


def check(columns, examples=EXAMPLES):
    image = np.arange(examples, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 1), np.uint8)
    assert {k: v.dtype.name for k, v in columns.columns.items()} == {
        "image": "uint8",
        "label": "int32",
        "box/size": "float32",
    }
    np.testing.assert_array_equal(columns.columns["image"], image)
    np.testing.assert_array_equal(columns.columns["label"], np.arange(examples))
    np.testing.assert_array_equal(columns.columns["box/size"], np.arange(examples) / 2)


def mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_second_call_maps_the_files_and_decodes_nothing():
    split = Counted()
    check(load(split))
    assert split.reads == EXAMPLES
    again = load(split)
    check(again)
    assert split.reads == EXAMPLES
    assert all(mapped(column) for column in again.columns.values())
    assert not again.columns["image"].flags.writeable


@pytest.mark.parametrize("other", [{"fingerprint": "g"}, {"name": "test"}, {"decode": "resize(3)"}])
def test_other_data_split_or_pipeline_is_decoded_anew(other):
    split = Counted()
    load(split)
    load(split, **other)
    assert split.reads == 2 * EXAMPLES


def truncate(folder):
    path = folder / "image.npy"
    path.write_bytes(path.read_bytes()[:-1])


def extend(folder):
    with (folder / "image.npy").open("ab") as file:
        file.write(b"x")


def garble(folder):
    path = folder / "label.npy"
    path.write_bytes(b"x" * 20 + path.read_bytes()[20:])


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        extend,
        garble,
        lambda folder: (folder / "label.npy").unlink(),
        lambda folder: (folder / "sizes.json").unlink(),
        lambda folder: (folder / "sizes.json").write_text('{"image": '),
        lambda folder: [f.unlink() for f in folder.iterdir()],
    ],
)
def test_damaged_cache_is_built_again(root, damage):
    split = Counted()
    load(split)
    (folder,) = (f for f in (root / "data").iterdir() if f.is_dir())
    damage(folder)
    check(load(split))
    assert split.reads == 2 * EXAMPLES


def test_what_is_in_memory_and_needs_no_decoding_stays_there(root):
    images = np.zeros((3, 2, 2, 1), np.uint8)
    columns = load(Columns({"image": images, "label": np.arange(3), "id": np.array(["a"] * 3)}), "")
    assert columns.columns["image"] is images
    assert columns.columns["label"].dtype == np.int32
    assert "id" not in columns.columns
    assert not root.exists()


def test_pickled_columns_are_the_folder_not_the_bytes():
    columns = load(Counted(200))
    pickled = pickle.dumps(columns)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    check(again, 200)
    assert mapped(again.columns["image"])


BUILD = """
import hashlib, os, pathlib, signal, sys, time
import numpy as np
from lepton_jax.data import cache
from tests.data import pipelines

log, kill_at = pathlib.Path(sys.argv[1]), int(sys.argv[2])

class Slow:
    def __len__(self):
        return 11

    def __getitem__(self, i):
        with log.open("a") as file:
            file.write(f"{i}\\n")
        if i == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        image = np.full((4, 4, 3), i, np.uint8)
        return {"image": image, "label": i, "box/size": np.float64(i) / 2, "id": b"text"}

decode = pipelines.read("resize(2)|grayscale")
split = cache.cached_columns(Slow(), name="train", fingerprint="f", decode=decode)
print(hashlib.sha256(b"".join(c.tobytes() for c in split.columns.values())).hexdigest())
"""


def builder(log, kill_at=-1):
    command = [sys.executable, "-c", BUILD, str(log), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_decode_once(tmp_path):
    log = tmp_path / "log"
    processes = [builder(log) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert len(log.read_text().split()) == EXAMPLES
    split = Counted()
    check(load(split))
    assert split.reads == 0


def test_builder_that_was_killed_leaves_nothing_in_the_way(tmp_path):
    process = builder(tmp_path / "log", kill_at=5)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    split = Counted()
    check(load(split))
    assert split.reads == EXAMPLES


def test_failed_build_gives_its_space_back(root):
    class Broken(Counted):
        def __getitem__(self, i):
            if i == 5:
                raise OSError("bad sector")
            return super().__getitem__(i)

    with pytest.raises(UserError, match="split 'train', example 5: bad sector"):
        load(Broken())
    assert not [f for f in (root / "data").iterdir() if f.is_dir()]


def test_full_disk_is_a_failure_of_the_work(root, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match=r"cannot keep decoded data in .*cache/data: .*No space"):
        load(Counted())


def test_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"LEPTON_JAX_CACHE may name another place"):
        load(Counted())


def test_examples_must_agree(root):
    class Grows(Counted):
        def __getitem__(self, i):
            return {"tokens": np.zeros(3 + i)}

    class Changes(Counted):
        def __getitem__(self, i):
            return {"a": 1} if i == 0 else {"b": 1}

    class Text(Counted):
        def __getitem__(self, i):
            return {"text": b"hello"}

    with pytest.raises(
        UserError, match=r"example 1: 'tokens' is float32 \[4\], in the first example"
    ):
        load(Grows(), "")
    with pytest.raises(UserError, match=r"has fields \['b'\], the first example \['a'\]"):
        load(Changes(), "")
    with pytest.raises(
        UserError, match=r"no numeric field; texts need data\.tokenizer and data\.encode"
    ):
        load(Text(), "")
    with pytest.raises(UserError, match="split 'train' has no examples"):
        load(Counted(0))


def test_long_decoding_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(cache, "_REPORT_EVERY_S", 0.0)
    load(Counted())
    assert "decoding 'train': 11 of 11 examples" in capsys.readouterr().err
