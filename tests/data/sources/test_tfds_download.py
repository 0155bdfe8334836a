"""Downloads of TFDS: what is wrong is one sentence, also from the process that downloads."""

import importlib.util

import pytest

from lepton_jax.data.sources import tfds_download
from lepton_jax.data.sources.tfds import tfds
from lepton_jax.errors import UserError, WorkError

STUB = "from importlib.resources import *\nfrom importlib.resources import abc\n"


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """An environment in which no host is reached, and TFDS finds what it imports before that."""
    monkeypatch.setattr(tfds_download, "NEEDED", ())  # TensorFlow, which comes after the network
    if importlib.util.find_spec("importlib_resources") is None:
        (tmp_path / "importlib_resources.py").write_text(STUB)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("no_proxy", "")


def test_a_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_download, "NEEDED", ("no_such_package",))
    with pytest.raises(UserError, match=r"pip install 'tensorflow>=\S+' importlib_resources$"):
        tfds(dataset="trec", data_dir=str(tmp_path), download=True)


def test_without_a_network_that_is_said_in_one_sentence(tmp_path, no_network):
    root = tmp_path / "sets"
    with pytest.raises(WorkError) as error:
        tfds(dataset="trec", data_dir=str(root), download=True)
    message = str(error.value)
    assert message.startswith("tfds: 'trec' was not downloaded: there is no network here")
    assert message.endswith(f"on another machine and copy its folder to {root}")
    assert "\n" not in message


def test_a_set_that_tfds_does_not_know_is_said(tmp_path, no_network):
    with pytest.raises(UserError, match="TFDS has no set of this name"):
        tfds(dataset="rotten_tomatoes", data_dir=str(tmp_path), download=True)


def test_what_tfds_can_download_is_known_without_tensorflow():
    known = ("mnist", "fashion_mnist", "glue/sst2", "scan/length", "imagenet2012", "trec:1.0.0")
    assert all(map(tfds_download.knows_set, known))
    assert not any(map(tfds_download.knows_set, ("rotten_tomatoes", "multi30k/de-en", "", "a b")))
    assert tfds_download.has_files_by_hand("imagenet2012")
    assert not tfds_download.has_files_by_hand("mnist")
