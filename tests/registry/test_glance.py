"""What a server asks the registry all the time is answered without MLflow, and as by MLflow."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.registry import history
from lepton_jax.registry.glance import glance_at_version
from lepton_jax.registry.store import Registry
from tests.registry.tiny import tiny_bundle


@pytest.fixture
def registry(registry_root: Path, tmp_path: Path) -> Registry:
    """Two versions of a model: the first is in production, the second in staging."""
    lepton_jax.promote(bundle=str(tiny_bundle(tmp_path / "first")), model="digits")
    lepton_jax.promote(model="digits@staging", to="production")
    lepton_jax.promote(bundle=str(tiny_bundle(tmp_path / "second", 0.95)), model="digits")
    return Registry()


def test_it_is_the_version_that_the_registry_finds(registry: Registry):
    for name in ("digits@production", "digits@staging", "digits/1", "digits/2"):
        assert glance_at_version(name) == replace(registry.resolve(name), metrics={})
    registry.point("digits", "production", 2)
    found = glance_at_version("digits@production")
    assert found is not None
    assert (found.version, found.aliases) == (2, ("production", "staging"))


def test_what_only_the_registry_can_tell_is_left_to_it(registry: Registry, tmp_path: Path):
    for name in ("digits", "digits@absent", "digits/3", "other@production", "digits@", "a b@c"):
        assert glance_at_version(name) is None
    assert glance_at_version("digits@production", "http://127.0.0.1:9") is None
    assert glance_at_version("digits@production", f"sqlite:///{tmp_path}/absent.db") is None
    (tmp_path / "damaged.db").write_bytes(b"x" * 5000)
    assert glance_at_version("digits@production", f"sqlite:///{tmp_path}/damaged.db") is None
    (event,) = [e for e in registry.events("digits") if e["alias"] == "production"]
    registry.tag("digits", history.new_key(), {**event, "version": 2, "done": False})
    assert glance_at_version("digits@production") is None  # a decision was left half done
    assert registry.resolve("digits@production").version == 2
    found = glance_at_version("digits@production")
    assert found is not None
    assert found.version == 2


def test_a_server_finds_its_model_without_mlflow(registry: Registry):
    registry.fetch(registry.resolve("digits@production"))
    script = """
import sys
from lepton_jax.registry.bundles import live_source
source = live_source("digits@production")
found = source.find()
print(found.version, "mlflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"], done.stderr
