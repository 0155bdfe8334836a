"""A list of trusted keys of the test's own, keys, and a bundle of a few bytes."""

from pathlib import Path

import pytest

from lepton_jax.signing.keys import KeyPair, make_key_pair
from tests.registry.tiny import tiny_bundle


@pytest.fixture(autouse=True)
def own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "trust" / "trusted_keys.json"
    monkeypatch.setenv("LEPTON_JAX_TRUST", str(path))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def alice(tmp_path: Path) -> KeyPair:
    return make_key_pair(str(tmp_path / "alice.pem"))


@pytest.fixture
def mallory(tmp_path: Path) -> KeyPair:
    return make_key_pair(str(tmp_path / "mallory.pem"))
