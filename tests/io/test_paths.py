"""The folders of a user, with variables and homes as they are found."""

import os
from pathlib import Path

import pytest

from lepton_jax.errors import UserError
from lepton_jax.io import paths
from lepton_jax.training import runtime


@pytest.mark.parametrize("variable", ["LEPTON_JAX_CACHE", "LEPTON_JAX_REGISTRY"])
@pytest.mark.parametrize("value", ["gs://bucket/x", "http://server:5000", "~nobody-of-that-name/x"])
def test_variable_that_is_no_folder_here_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    find = paths.cache_root if variable.endswith("CACHE") else paths.registry_root
    with pytest.raises(UserError, match=f"{variable}={value}: "):
        find()


def test_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_CACHE", "")
    monkeypatch.setenv("HOME", "/h")
    assert paths.cache_root() == Path("/h/.cache/lepton_jax")


def test_user_without_a_home_has_a_cache_and_is_told_where_a_registry_goes(monkeypatch, tmp_path):
    def no_home(self):
        raise RuntimeError("Could not determine home directory.")

    for variable in ("LEPTON_JAX_CACHE", "LEPTON_JAX_REGISTRY", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert paths.cache_root().name == f"lepton_jax-{os.getuid()}"
    with pytest.raises(UserError, match="set LEPTON_JAX_REGISTRY"):
        paths.registry_root()


@pytest.mark.parametrize("folder", ["file/xla", "/dev/null/xla", "/proc/xla", "loop/xla", "a\0b"])
def test_cache_that_cannot_be_written_is_left_out(tmp_path, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    assert not runtime._is_writable(tmp_path / folder)


def test_cache_is_made(tmp_path):
    assert runtime._is_writable(tmp_path / "a/b")
