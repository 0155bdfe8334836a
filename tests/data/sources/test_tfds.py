"""Sets of TensorFlow Datasets, read without TensorFlow."""

import io
import json
import pathlib
import pickle
import re
import sys

import numpy as np
import pytest
from PIL import Image

from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.sources.tfds import tfds
from lepton_jax.errors import UserError
from tests.data import pipelines

REAL = pathlib.Path(__file__).parents[4] / "shared" / "data"
needs_real_data = pytest.mark.skipif(
    not (REAL / "cifar10").is_dir(), reason=f"no cifar10 in {REAL}: the real sets are not here"
)


def image_of(i):
    return np.full((6, 5, 3), 10 * i, np.uint8)


def write_set(root, name="tiny", version="1.0.0", sizes=(("train", 7), ("validation", 3))):
    """A set as TFDS prepares it; its own writer needs TensorFlow."""
    import tensorflow_datasets
    from array_record.python import array_record_module
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / name / version
    folder.mkdir(parents=True)
    features = tensorflow_datasets.features.FeaturesDict(
        {
            "image": tensorflow_datasets.features.Image(shape=(6, 5, 3)),
            "label": tensorflow_datasets.features.ClassLabel(names=["ant", "bee", "cow"]),
            "id": tensorflow_datasets.features.Text(),
            "box": {"size": np.int64},
        }
    )
    features.save_config(str(folder))
    features.save_metadata(str(folder), feature_name=None)
    splits = []
    for split, size in sizes:
        file = folder / f"{name}-{split}.array_record-00000-of-00001"
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
        for i in range(size):
            png = io.BytesIO()
            Image.fromarray(image_of(i)).save(png, "PNG")
            example = tf_example_pb2.Example()
            values = example.features.feature
            values["image"].bytes_list.value.append(png.getvalue())
            values["label"].int64_list.value.append(i % 3)
            values["id"].bytes_list.value.append(f"{split}_{i}".encode())
            values["box/size"].int64_list.value.append(100 + i)
            writer.write(example.SerializeToString())
        writer.close()
        splits.append(
            {
                "name": split,
                "shardLengths": [str(size)],
                "numBytes": "1",
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        )
    info = {"name": name, "version": version, "fileFormat": "array_record", "description": ""}
    (folder / "dataset_info.json").write_text(json.dumps({**info, "splits": splits}))


def test_set_is_read_by_name(tmp_path):
    write_set(tmp_path)
    source = tfds(dataset="tiny", data_dir=str(tmp_path))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 7, "valid": 3}
    assert source.classes == ("ant", "bee", "cow")
    assert source.left_out == {"id": ("texts", "")}
    element = source.splits["train"][4]
    np.testing.assert_array_equal(element["image"], image_of(4))
    assert (element["label"], element["id"], element["box/size"]) == (1, b"train_4", 104)
    assert "tensorflow" not in sys.modules


def test_set_is_the_same_in_a_worker_process(tmp_path):
    write_set(tmp_path)
    split = tfds(dataset="tiny", data_dir=str(tmp_path)).splits["train"]
    sent = pickle.dumps(split)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[4]["image"], image_of(4))


def test_unreadable_image_is_named_by_its_example(tmp_path, monkeypatch):
    whole, save = [], Image.Image.save

    def cut(self, file, form):
        save(self, file, form)
        whole.append(file.tell())
        if len(whole) == 3:
            file.truncate(40)

    monkeypatch.setattr(Image.Image, "save", cut)
    write_set(tmp_path)
    source = tfds(dataset="tiny", data_dir=str(tmp_path))
    with pytest.raises(UserError, match="split 'train', example 2: "):
        load_dataset(source, decode=pipelines.read("resize(4)"), valid_fraction=0.0, split_seed=0)


def test_set_becomes_columns(tmp_path):
    write_set(tmp_path)
    source = tfds(dataset="tiny", data_dir=str(tmp_path))
    data = load_dataset(
        source, decode=pipelines.read("resize(4)"), valid_fraction=0.5, split_seed=0
    )
    assert set(data.splits) == {"train", "valid"}
    assert len(data.splits["train"]) == 7  # the set's own 'valid': nothing is carved
    fields = {name: (spec.shape, spec.dtype) for name, spec in data.spec.fields.items()}
    assert fields == {
        "image": ((4, 4, 3), "uint8"),
        "label": ((), "int32"),
        "box/size": ((), "int32"),
    }
    np.testing.assert_array_equal(data.splits["valid"].columns["box/size"], [100, 101, 102])


def test_newest_version_unless_one_is_named(tmp_path):
    write_set(tmp_path, version="9.0.0", sizes=[("train", 1)])
    write_set(tmp_path, version="10.0.0", sizes=[("train", 2)])
    assert len(tfds(dataset="tiny", data_dir=str(tmp_path)).splits["train"]) == 2
    named = tfds(dataset="tiny:9.0.0", data_dir=str(tmp_path))
    assert len(named.splits["train"]) == 1
    assert named.fingerprint != tfds(dataset="tiny", data_dir=str(tmp_path)).fingerprint


def test_fingerprint_does_not_depend_on_the_place(tmp_path):
    fingerprints = set()
    for place in ("a", "b"):
        write_set(tmp_path / place)
        fingerprints.add(tfds(dataset="tiny", data_dir=str(tmp_path / place)).fingerprint)
    assert len(fingerprints) == 1


@pytest.mark.parametrize("dataset", ["tinny", "tiny:2.0.0", "tiny/config", ""])
def test_absent_set_is_one_clear_error(tmp_path, dataset):
    write_set(tmp_path)
    with pytest.raises(UserError) as error:
        tfds(dataset=dataset, data_dir=str(tmp_path))
    message = str(error.value)
    assert f"{dataset!r} is not in {tmp_path}" in message
    assert "; there are: tiny (data.source.data_dir, or else $TFDS_DATA_DIR" in message
    assert "TFDS knows no set of this name to download" in message
    assert "\n" not in message


def test_absent_folder_is_one_clear_error(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"'mnist' is not in .*nowhere \(data.source.data_dir"):
        tfds(dataset="mnist", data_dir=str(tmp_path / "nowhere"))


def test_a_set_that_is_there_is_not_downloaded(tmp_path):
    write_set(tmp_path)
    assert len(tfds(dataset="tiny", data_dir=str(tmp_path), download=True).splits["train"]) == 7


def test_set_in_tfrecord_form_is_refused(tmp_path):
    write_set(tmp_path)
    info = tmp_path / "tiny" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(UserError, match="is in tfrecord form, which has no random access"):
        tfds(dataset="tiny", data_dir=str(tmp_path))


@needs_real_data
def test_real_cifar10():
    source = tfds(dataset="cifar10", data_dir=str(REAL))
    assert {name: len(split) for name, split in source.splits.items()} == {
        "train": 50_000,
        "test": 10_000,
    }
    assert source.classes[:3] == ("airplane", "automobile", "bird")
    element = source.splits["test"][9_999]
    assert element["image"].shape == (32, 32, 3)
    assert 0 <= element["label"] < 10


@needs_real_data
def test_real_set_with_a_config():
    source = tfds(dataset="glue/sst2", data_dir=str(REAL))
    assert list(source.splits) == ["train", "valid", "test"]
    assert source.classes == ("negative", "positive")
    assert isinstance(source.splits["valid"][0]["sentence"], bytes)


@needs_real_data
def test_real_photographs_of_blood_cells():
    source = tfds(dataset="bccd", data_dir=str(REAL))
    element = source.splits["train"][0]
    assert element["image"].shape == (480, 640, 3)
    assert np.shape(element["objects/bbox"])[1] == 4


def test_a_field_of_labels_by_another_name_and_splits_of_parts(tmp_path):
    write_set(tmp_path)
    source = tfds(
        dataset="tiny",
        data_dir=str(tmp_path),
        splits=("train=train[:5]", "valid=validation+train[5:]"),
    )
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 5, "valid": 5}
    assert source.fingerprint != tfds(dataset="tiny", data_dir=str(tmp_path)).fingerprint
    again = pickle.loads(pickle.dumps(source.splits["valid"]))
    assert again[0]["id"] == source.splits["valid"][0]["id"] == b"validation_0"
    for keys, message in (
        ({"splits": ("test=tset",)}, "no split 'tset'"),
        ({"splits": ("train",)}, "expected e.g."),
        ({"label": "lable"}, "no field of labels 'lable'; did you mean 'label'|no field of labels"),
    ):
        with pytest.raises(UserError, match=message):
            tfds(dataset="tiny", data_dir=str(tmp_path), **keys)


@pytest.mark.skipif(not (REAL / "trec").is_dir(), reason=f"no texts in {REAL}")
@pytest.mark.parametrize(
    ("keys", "fields", "classes", "sizes"),
    [
        (
            {"dataset": "trec", "label": "label-coarse"},
            {"text", "label", "label-fine"},
            6,
            {"train": 5452, "test": 500},
        ),
        (
            {"dataset": "glue/sst2"},
            {"sentence", "label", "idx"},
            2,
            {"train": 67349, "valid": 872, "test": 1821},
        ),
        (
            {"dataset": "rotten_tomatoes"},
            {"text", "label"},
            2,
            {"train": 8530, "valid": 1066, "test": 1066},
        ),
        (
            {"dataset": "multi30k/de-en"},
            {"de", "en"},
            0,
            {"train": 29000, "valid": 1014, "test": 1000, "test_2017_flickr": 1000},
        ),
        ({"dataset": "scan/simple"}, {"commands", "actions"}, 0, {"train": 16728, "test": 4182}),
        (
            {
                "dataset": "tiny_shakespeare",
                "splits": ("train=train", "valid=validation+test", "test=test"),
            },
            {"text"},
            0,
            {"train": 1, "valid": 2, "test": 1},
        ),
    ],
)
def test_real_sets_of_texts_are_read(keys, fields, classes, sizes):
    source = tfds(data_dir=str(REAL), **keys)
    assert source.splits["train"][0].keys() == fields
    assert len(source.classes) == classes
    assert {name: len(split) for name, split in source.splits.items()} == sizes


def unlink_shard(folder):
    (folder / "tiny-train.array_record-00000-of-00001").unlink()


def cut_shard(folder):
    file = folder / "tiny-train.array_record-00000-of-00001"
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("break_it", "keys", "expected"),
    [
        (unlink_shard, {}, "is not whole: .*No such file"),
        (cut_shard, {}, "is not whole: .*; prepare or copy it again"),
        (lambda f: (f / "features.json").unlink(), {}, "is not whole: ValueError: Cannot restore"),
        (lambda f: (f / "features.json").write_text("{"), {}, "is not whole"),
        (lambda f: (f / "dataset_info.json").write_text("{"), {}, "is not whole"),
        (lambda f: f.rename(f"{f}.incompleteAB"), {}, "no finished version; there are: 1.0.0.inc"),
        (None, {"splits": ("train=train", "train=val")}, "'train' stands there twice"),
        (None, {}, "'validation' and 'val' both mean the split 'valid'"),
        (None, {"splits": ("train=train", "validation=val")}, "{'train': 3, 'valid': 2}"),
        (None, {"splits": ("train=train[:0%]",)}, "split 'train.:0%.'"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_in_a_sentence(tmp_path, break_it, keys, expected):
    write_set(tmp_path, sizes=(("train", 3), ("validation", 2), ("val", 2)))
    if break_it:
        break_it(tmp_path / "tiny/1.0.0")
    try:
        whole = {"splits": ("train=train",)} if break_it else {}
        source = tfds(**{"dataset": "tiny", "data_dir": str(tmp_path), **whole, **keys})
        said = str({name: len(split) for name, split in source.splits.items()})
    except UserError as e:
        said = str(e)
    assert re.search(expected, said), said
    assert len(said.splitlines()) == 1


def test_a_split_without_rows_is_left_out_and_said(tmp_path):
    write_set(tmp_path, sizes=(("train", 3), ("test", 0)))
    source = tfds(dataset="tiny", data_dir=str(tmp_path))
    assert list(source.splits) == ["train"]
    assert str(source.account) == "left out: 1 split without rows ('test')"
