"""A registered model as a server sees it: its alias moves, the registry may go away."""

import os
import sys
import time

import httpx
import pytest

from lepton_jax.api import promote
from lepton_jax.errors import UserError, WorkError
from lepton_jax.registry.bundles import live_source
from lepton_jax.registry.store import register_bundle
from tests import graduation
from tests.serving.running import run_bundles


@pytest.fixture
def digits(registry_root, made):
    """Two versions, the first of which is in production."""
    first, second = (register_bundle(str(made[s]), "digits") for s in (20, 150))
    promote(model="digits/1", to="staging")
    promote(model="digits@staging", to="production")
    return first, second


def move_on():
    promote(model="digits/2", to="staging")
    promote(model="digits@staging", to="production")


def test_a_source_finds_the_version_that_the_alias_stands_for(digits, registry_root):
    first, second = digits
    source = live_source("digits@production")
    assert (source.name, source.moves) == ("digits", True)
    assert not live_source("digits/1").moves
    found = source.find()
    assert (found.version, found.id) == ("1", first.id)
    assert found.open().id == first.id
    move_on()
    assert (source.find().version, source.find().id) == ("2", second.id)
    with pytest.raises(UserError, match="did you mean 'production'"):
        live_source("digits@prodction").find()


def test_a_copy_that_was_changed_in_the_registry_is_not_opened(
    digits, registry_root, tmp_path, monkeypatch
):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "another machine"))
    for weights in registry_root.rglob("weights.safetensors"):
        graduation.flip(weights)
    found = live_source("digits@production").find()
    with pytest.raises(WorkError, match="is not the bundle that was registered"):
        found.open()


def test_a_server_follows_the_alias_and_outlives_the_registry(digits, registry_root, tmp_path):
    start = [sys.executable, "-m", "lepton_jax", "serve"]
    flags = ["--model=digits@production", "--follow=0.1"]
    with run_bundles(tmp_path / "served", *flags, start=start, **os.environ) as server:

        def version():
            return server.client.get("/v2/models/digits").json()["parameters"]["version"]

        def wait_for(condition):
            until = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < until, server.log.read_text()
                time.sleep(0.05)

        assert version() == "1"
        move_on()
        wait_for(lambda: version() == "2")
        wait_for(lambda: server.events("unloaded"))
        registry_root.rename(tmp_path / "elsewhere")

        def up():
            text = server.client.get("/metrics").text
            (line,) = (x for x in text.splitlines() if x.startswith("lepton_registry_up{"))
            return float(line.split()[-1])

        wait_for(lambda: up() == 0)
        assert httpx.get(f"{server.address}/v2/models/digits/ready").status_code == 200
        assert version() == "2"
        (tmp_path / "elsewhere").rename(registry_root)
        wait_for(lambda: up() == 1)
        assert server.stop() == 0
