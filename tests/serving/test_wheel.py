"""The server's own distribution: built, installed alone, and asked by HTTP."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from lepton_jax.serving.loader import load_bundle
from lepton_jax.version import __version__
from tests.graduation import verified_bundle
from tests.serving.running import run_bundles

ROOT = Path(__file__).parent.parent.parent
SERVING = ROOT / "lepton_jax/serving"


def project():
    return tomllib.loads((SERVING / "pyproject.toml").read_text())


def test_the_wheel_has_every_folder_of_the_server_and_its_version():
    folders = [p.parent.relative_to(SERVING) for p in SERVING.rglob("__init__.py")]
    packages = sorted(".".join(["lepton_serving", *folder.parts]) for folder in folders)
    assert sorted(project()["tool"]["setuptools"]["packages"]) == packages
    assert project()["project"]["version"] == __version__


def test_what_the_wheel_requires_the_lab_requires_too():
    lab = (ROOT / "requirements.txt").read_text()
    for requirement in project()["project"]["dependencies"]:
        assert requirement.partition(">")[0] in lab, requirement


@pytest.mark.slow
def test_the_wheel_alone_answers(tmp_path, tmp_path_factory):
    def run(*words):
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shutil.copytree(SERVING, tmp_path / "source")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", "wheels", "./source")
    run(sys.executable, "-m", "venv", "alone")
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    run("alone/bin/pip", "install", "-q", str(wheel))
    installed = run("alone/bin/pip", "list", "--format=freeze").lower()
    for absent in ("jax", "flax", "mlflow", "lepton_jax", "scipy"):
        assert f"\n{absent}=" not in installed
    run("alone/bin/pip", "check")

    bundle = verified_bundle(tmp_path_factory)
    command = str(tmp_path / "alone/bin/lepton-serve")
    environment = {"PATH": os.environ["PATH"]}
    flags = [f"--bundle=digits={bundle}"]
    with run_bundles(tmp_path, *flags, start=[command], **environment) as server:
        examples = load_bundle(bundle).examples()
        picture = (bundle / "examples/00.png").read_bytes()
        said = server.client.post("/models/digits/answer", content=picture).json()
        assert said["answer"]["label"] == str(examples["outputs"]["label"][0])
        images = examples["inputs"]["image"]
        tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8"}
        tensor["data"] = images.ravel().tolist()
        got = server.client.post("/v2/models/digits/infer", json={"inputs": [tensor]}).json()
        outputs = {o["name"]: o["data"] for o in got["outputs"]}
        assert outputs["label"] == examples["outputs"]["label"].tolist()
        np.testing.assert_allclose(
            outputs["probabilities"], examples["outputs"]["probabilities"].ravel(), atol=1e-5
        )
