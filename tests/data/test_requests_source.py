"""Kept requests as a source, alone and joined to another."""

from pathlib import Path

import numpy as np
import pytest

from lepton_jax.config.validation import parse_pipeline
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.sources.digits import digits
from lepton_jax.data.sources.mixed import mixed
from lepton_jax.data.sources.requests import requests
from lepton_jax.errors import UserError
from lepton_jax.serving.observed.requests import KeptBundle, KeptRequest, KeptRequests, utc_now

DIGITS = tuple("0123456789")
IMAGE = {"image": {"dtype": "uint8", "shape": [8, 8, 1]}}


def keep(
    folder: Path,
    name: str,
    label: tuple[str | None, ...],
    *,
    bundle: str = "a",
    inputs: dict = IMAGE,
    classes: tuple[str, ...] = DIGITS,
) -> np.ndarray:
    """Keeps a request of as many rows as labels, with an image that its name decides."""
    kept, identity = KeptRequests(folder), f"sha256:{bundle * 64}"
    draw = np.random.default_rng(list(name.encode()))
    shape = (len(label), *inputs["image"]["shape"])
    image = draw.integers(0, 256, shape).astype(np.uint8)
    outputs = {"label": np.zeros(len(label), np.int32)}
    kept.write_bundle(KeptBundle(identity, classes, inputs))
    kept.write(
        KeptRequest(name, utc_now(), "digits", "1", identity, "onnx", {"image": image}, outputs)
    )
    if label != ():
        kept.label(name, label)
    return image


def columns_of(source: Source, split: str) -> dict[str, np.ndarray]:
    found = source.splits[split]
    assert isinstance(found, Columns)
    return {name: np.asarray(column) for name, column in found.columns.items()}


def rows_of(source: Source, split: str) -> set[tuple[bytes, int]]:
    columns = columns_of(source, split)
    return {
        (image.tobytes(), int(label))
        for image, label in zip(columns["image"], columns["label"], strict=True)
    }


def test_labelled_rows_are_examples_and_others_are_not(tmp_path: Path):
    image = keep(tmp_path, "a", ("3", None, "9"))
    keep(tmp_path, "never told", (None,) * 2)
    source = requests(path=str(tmp_path), test_fraction=0.0)
    assert rows_of(source, "train") == {(image[0].tobytes(), 3), (image[2].tobytes(), 9)}
    assert source.classes == DIGITS


def test_an_example_of_test_stays_there_when_more_are_kept(tmp_path: Path):
    for i in range(60):
        keep(tmp_path, f"r{i}", (str(i % 10),))
    before = requests(path=str(tmp_path))
    for i in range(60, 90):
        keep(tmp_path, f"r{i}", (str(i % 10),))
    after = requests(path=str(tmp_path))
    for split in ("train", "test"):
        assert rows_of(before, split) < rows_of(after, split)
    assert not rows_of(after, "train") & rows_of(after, "test")
    assert 0.1 < len(rows_of(after, "test")) / 90 < 0.4
    assert before.fingerprint != after.fingerprint


def test_what_another_bundle_took_is_left_out_and_said(tmp_path: Path):
    keep(
        tmp_path,
        "large",
        ("1",),
        bundle="b",
        inputs={"image": {"dtype": "uint8", "shape": [9, 9, 1]}},
    )
    keep(tmp_path, "other", ("cat",), bundle="c", classes=("cat", "dog"))
    keep(tmp_path, "mine", ("1",))
    source = requests(path=str(tmp_path), test_fraction=0.0)
    assert len(rows_of(source, "train")) == 1
    assert "1 row of bundles with other inputs" in str(source.account)
    assert "1 row of other classes" in str(source.account)


def test_damaged_file_is_left_out_and_said(tmp_path: Path):
    keep(tmp_path, "good", ("1",))
    keep(tmp_path, "bad", ("1",))
    for file in KeptRequests(tmp_path):
        if KeptRequests(tmp_path).read(file).id == "bad":
            file.write_bytes(file.read_bytes()[:50])
    source = requests(path=str(tmp_path), test_fraction=0.0)
    assert len(rows_of(source, "train")) == 1
    assert "damaged" in str(source.account)


def test_folder_without_labels_is_refused_with_what_helps(tmp_path: Path):
    with pytest.raises(UserError, match=r"keep_requests.*feedback"):
        requests(path=str(tmp_path / "nothing"))


def test_mixed_learns_from_both_and_is_measured_on_the_first(tmp_path: Path):
    for i in range(40):
        keep(tmp_path, f"r{i}", (str(i % 10),))
    new, old = requests(path=str(tmp_path)), digits()
    both = mixed(sources=parse_pipeline("source", f"digits|requests(path={str(tmp_path)!r})"))
    assert rows_of(both, "train") == rows_of(old, "train") | rows_of(new, "train")
    for name, column in columns_of(old, "test").items():
        np.testing.assert_array_equal(columns_of(both, "test")[name], column)
    assert both.fingerprint not in (new.fingerprint, old.fingerprint)
    data = load_dataset(
        both, decode=parse_pipeline("host transform", ""), valid_fraction=0.1, split_seed=0
    )
    assert set(data.splits) == {"train", "valid", "test"}


def test_mixed_sources_of_other_classes_are_refused(tmp_path: Path):
    keep(tmp_path, "a", ("cat",), classes=("cat", "dog"))
    with pytest.raises(UserError, match=r"cat, dog.*expected those"):
        mixed(sources=parse_pipeline("source", f"digits|requests(path={str(tmp_path)!r})"))


def test_one_source_is_no_mixture():
    with pytest.raises(UserError, match="two sources or more"):
        mixed(sources=parse_pipeline("source", "digits"))
