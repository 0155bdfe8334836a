"""Whoever has a bundle and its README alone: in new environments with what the README installs."""

import json
import shlex
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from lepton_jax import api
from lepton_jax.serving import loader
from tests.export.readme import Part, parts_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECIPES = ("digits_cnn", "trec_cnn", "shakespeare_gpt")


@pytest.fixture(scope="module")
def bundles(tiny_run, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("received")
    for recipe in RECIPES:
        api.export(str(tiny_run(recipe)), str(folder / recipe))
    return [folder / recipe for recipe in RECIPES]


def expected_labels(bundle: Path) -> list[int]:
    return loader.load_bundle(bundle).examples()["outputs"]["label"].tolist()


def install(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{shlex.join(command)}: {done.stderr[-300:]}")


def printed_by(command: list[str], bundle: Path) -> list[int]:
    done = subprocess.run(
        command, cwd=bundle, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("heading", ["With onnxruntime", "With JAX"])
def test_a_new_environment_with_what_the_readme_installs_gives_the_labs_labels(
    bundles, heading, tmp_path
):
    python = str(tmp_path / "venv/bin/python")
    venv.create(tmp_path / "venv", with_pip=True)
    part = parts_of(bundles[0])[heading]
    words = shlex.split(part.install)
    assert words[:2] == ["pip", "install"]
    install([python, "-m", "pip", *words[1:]], tmp_path)
    there = subprocess.run(
        [python, "-c", "import lepton_jax"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "No module named 'lepton_jax'" in there.stderr
    for bundle in bundles:
        code = parts_of(bundle)[heading].code
        assert printed_by([python, "-c", code], bundle) == expected_labels(bundle)


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")
def test_node_with_what_the_readme_installs_gives_the_labs_labels(bundles, tmp_path):
    heading = "With Node.js"
    parts: list[Part] = [parts_of(bundle)[heading] for bundle in bundles]
    # Without scripts: one of them fetches a library for GPUs, which is not asked here.
    install([*shlex.split(parts[0].install), "--ignore-scripts"], tmp_path)
    for bundle, part in zip(bundles, parts, strict=True):
        program = tmp_path / f"{bundle.name}.js"
        program.write_text(part.code)
        assert printed_by([shutil.which("node") or "node", str(program)], bundle) == (
            expected_labels(bundle)
        )
