"""Encoded images in Parquet files and in folders that `datasets` saved."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.sources.arrow import saved_dataset
from lepton_jax.data.sources.images import read_image
from lepton_jax.data.sources.parquet import parquet
from lepton_jax.errors import UserError
from lepton_jax.tasks.classification import ImageClassification
from tests.data import pipelines
from tests.data.jpegs import CLASSES, jpeg

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": list(CLASSES), "_type": "ClassLabel"},
    "note": {"dtype": "string", "_type": "Value"},
}


def table(start, stop):
    """As `datasets` lays out images: structs of bytes and path."""
    numbers = range(start, stop)
    return pa.table(
        {
            "image": [{"bytes": jpeg(i), "path": f"{i}.jpg"} for i in numbers],
            "label": pa.array([i % 3 for i in numbers], pa.int64()),
            "note": [f"no. {i}" for i in numbers],
        }
    )


def save_to_disk(folder, parts):
    folder.mkdir(parents=True)
    files = []
    for n, part in enumerate(parts):
        files.append({"filename": f"data-{n:05d}-of-{len(parts):05d}.arrow"})
        file = str(folder / files[-1]["filename"])
        with pa.OSFile(file, "wb") as out, pa.ipc.new_stream(out, part.schema) as writer:
            writer.write_table(part, max_chunksize=3)
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": None}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


@pytest.fixture
def saved(tmp_path):
    root = tmp_path / "saved"
    save_to_disk(root / "train", [table(0, 7), table(7, 12)])
    save_to_disk(root / "validation", [table(12, 15)])
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    return root


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "parquet"
    root.mkdir()
    metadata = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
    parts = [("train-00000-of-00002", 0, 7), ("train-00001-of-00002", 7, 12)]
    for name, start, stop in [*parts, ("validation-00000-of-00001", 12, 15)]:
        part = table(start, stop).replace_schema_metadata(metadata)
        pq.write_table(part, root / f"{name}.parquet", row_group_size=4)
    return root


@pytest.mark.parametrize(("fixture", "source"), [("saved", saved_dataset), ("files", parquet)])
def test_rows_are_images_labels_and_text(fixture, source, request):
    path = request.getfixturevalue(fixture)
    found = source(path=str(path))
    assert found.classes == CLASSES
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 12, "valid": 3}
    train = pickle.loads(pickle.dumps(found.splits["train"]))  # as a worker process gets it
    for i in (0, 6, 7, 11):
        element = train[i]
        np.testing.assert_array_equal(element["image"], read_image(jpeg(i), ""))
        assert (element["label"], element["note"]) == (i % 3, f"no. {i}".encode())
    np.testing.assert_array_equal(train.labels, np.arange(12) % 3)
    assert source(path=str(path)).fingerprint == found.fingerprint
    data = load_dataset(
        found, decode=pipelines.read("rgb|resize(8)"), valid_fraction=0.0, split_seed=0
    )
    assert data.splits["valid"].columns["image"].shape == (3, 8, 8, 3)
    assert data.spec.fields["label"].dtype == "int32"


def test_plain_parquet_of_bytes_and_texts(tmp_path):
    names = ["dog", "cat", "dog"]
    plain = pa.table({"img": [jpeg(i) for i in range(3)], "kind": names})
    pq.write_table(plain, tmp_path / "pets.parquet")
    source = parquet(path=str(tmp_path / "pets.parquet"), image="img", label="kind")
    assert (source.classes, list(source.splits)) == (("cat", "dog"), ["train"])
    assert [int(source.splits["train"][i]["label"]) for i in range(3)] == [1, 0, 1]
    with pytest.raises(UserError, match=r"no column 'kin' .*did you mean 'kind'"):
        parquet(path=str(tmp_path / "pets.parquet"), image="img", label="kin")


@pytest.mark.parametrize("source", [saved_dataset, parquet])
def test_without_a_label_other_columns_are_numbers(source, tmp_path):
    plain = pa.table({"picture": [jpeg(i) for i in range(3)], "angle": [0.5, 1.5, 2.5]})
    if source is parquet:
        pq.write_table(plain, tmp_path / "train.parquet")
    else:
        save_to_disk(tmp_path / "saved", [plain])
    path = tmp_path if source is parquet else tmp_path / "saved"
    opened = source(path=str(path), image="picture", label=None)
    assert opened.classes == ()
    assert opened.splits["train"].labels is None
    assert list(opened.splits["train"][1]) == ["image", "angle"]
    assert opened.splits["train"][1]["angle"] == 1.5


def test_a_column_of_another_name_is_suggested_by_its_key(tmp_path):
    plain = pa.table({"picture": [jpeg(0)] * 3, "digit": [0, 1, 0]})  # of one size
    pq.write_table(plain, tmp_path / "train.parquet")
    source = parquet(path=str(tmp_path))
    keys = {"valid_fraction": 0.0, "split_seed": 0}
    with pytest.raises(UserError, match=r"field 'image' .*, got none; it has digit, picture"):
        load_dataset(source, decode=pipelines.read("rgb|resize(8)"), **keys)
    spec = load_dataset(source, decode=pipelines.read(""), **keys).spec
    with pytest.raises(UserError, match=r"picture uint8 .*data\.source\.image = 'picture' names"):
        ImageClassification(spec)
    with pytest.raises(UserError, match=r"field 'label'.*data\.source\.label = 'digit' names"):
        spec.require("image classification", "label", 0)


def test_a_truncated_image_is_named_by_file_and_row(tmp_path):
    bad = pa.table({"image": [jpeg(0), jpeg(1)[:200]], "label": [0, 1]})
    pq.write_table(bad, tmp_path / "bad.parquet")
    source = parquet(path=str(tmp_path / "bad.parquet"))
    with pytest.raises(
        UserError, match=r"'train', example 1: .*bad\.parquet, row 1: not a readable"
    ):
        load_dataset(
            source, decode=pipelines.read("rgb|resize(8)"), valid_fraction=0.0, split_seed=0
        )


def test_what_is_no_such_folder_or_file_is_one_clear_error(tmp_path, saved):
    with pytest.raises(UserError, match=r"neither dataset_dict\.json nor state\.json"):
        saved_dataset(path=str(tmp_path))
    with pytest.raises(UserError, match=r"no \.parquet file there"):
        parquet(path=str(tmp_path / "nowhere"))
    (tmp_path / "no.parquet").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"no\.parquet: not a readable Parquet file"):
        parquet(path=str(tmp_path / "no.parquet"))
    (saved / "train" / "state.json").unlink()
    with pytest.raises(UserError, match=r"train/state\.json: No such file"):
        saved_dataset(path=str(saved))


def test_an_image_in_a_table_is_turned_as_exif_says(tmp_path):
    image = Image.fromarray(np.zeros((10, 12, 3), np.uint8))
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif)
    row = {"bytes": buffer.getvalue(), "path": "phone.jpg"}
    pq.write_table(pa.table({"image": [row] * 2, "label": [0, 1]}), tmp_path / "a.parquet")
    source = parquet(path=str(tmp_path / "a.parquet"))
    data = load_dataset(source, decode=pipelines.read(""), valid_fraction=0.0, split_seed=0)
    assert data.splits["train"].columns["image"].shape == (2, 12, 10, 3)
    assert "2 images turned upright, as EXIF says" in str(data.account)
