"""One migrated database a session: making one takes MLflow seconds, copying it none."""

import shutil
from pathlib import Path

import pytest

from lepton_jax.io.paths import cache_root
from lepton_jax.tracking import mlflow_store
from tests import graduation


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("migrated") / "registry.db"
    mlflow_store.connect(f"sqlite:///{database}")
    return database


@pytest.fixture
def registry_root(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Bundles are verified once for all tests: each test's cache has the notes of their verdicts.
    (cache_root() / "verdicts").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/verdicts").symlink_to(cache_root() / "verdicts")
    root = tmp_path / "registry"
    root.mkdir()
    shutil.copy(migrated, root / "registry.db")
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(root))
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Verified bundles of a model trained for so many steps: the longer, the better."""
    return {s: graduation.verified_bundle(tmp_path_factory, s) for s in graduation.STEPS}


@pytest.fixture
def bundle(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graduation.copied(graduation.verified_bundle(tmp_path_factory), tmp_path / "bundle")
