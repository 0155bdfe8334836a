"""`env` says what is there, and shows no secrets."""

from pathlib import Path

import jax
import pytest

from lepton_jax import api
from lepton_jax.tracking.environment import EXTRAS


def test_env_says_versions_devices_caches_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("JAX_API_SOMETHING", "1")
    (tmp_path / "data" / "one").mkdir(parents=True)
    (tmp_path / "data" / "one" / "image").write_bytes(bytes(3 << 20))
    said = api.env()
    facts = said.as_json()
    assert facts["packages"]["jax"] == jax.__version__
    assert facts["devices"]["count"] == jax.device_count()
    caches = {Path(cache["path"]).name: cache["bytes"] for cache in facts["caches"]}
    assert caches["data"] == 3 << 20
    assert (facts["registry"]["exists"], facts["registry"]["error"]) == (False, "")
    assert str(tmp_path / "registry") in facts["registry"]["address"]
    assert not (tmp_path / "registry").exists()
    assert [extra["name"] for extra in facts["extras"]] == list(EXTRAS)
    assert "3.00 MiB" in str(said)
    assert "JAX_API_SOMETHING=1" in str(said)


def test_env_shows_no_secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "hidden")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hidden@127.0.0.1:9")
    said = api.env()
    assert "hidden" not in f"{said}{said.as_json()}"
    assert said.registry["address"] == "http://127.0.0.1:9"
