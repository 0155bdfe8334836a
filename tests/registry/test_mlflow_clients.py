"""What MLflow itself makes of the registry: its loader, its server and its pages, in an
environment without lepton_jax and JAX."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lepton_jax.registry.promotion import promote_version
from lepton_jax.registry.store import register_bundle
from tests.browser import open_chromium

pytestmark = pytest.mark.slow
PACKAGES = ("mlflow", "onnx", "onnxruntime", "safetensors")


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has MLflow and what its models need."""
    folder = tmp_path_factory.mktemp("mlflow") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = subprocess.run([folder / "bin/pip", "install", "--quiet", *PACKAGES])
    if done.returncode:
        pytest.skip(f"pip could not install {', '.join(PACKAGES)}")
    return folder / "bin"


@pytest.fixture
def environment(binaries: Path, registry_root: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MLFLOW"))}
    return kept | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{registry_root}/registry.db",
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture
def promoted(bundle: Path, registry_root: Path) -> Path:
    register_bundle(str(bundle), "digits")
    assert promote_version(model="digits", to="staging").ok
    return bundle


def test_mlflow_loads_a_registered_version(
    promoted: Path, binaries: Path, environment: dict[str, str]
):
    code = f"""
import sys
import mlflow.pyfunc
sys.addaudithook(lambda event, _: event == "pickle.find_class" and sys.exit("it unpickles"))
from safetensors.numpy import load_file
examples = load_file("{promoted}/examples/examples.safetensors")
model = mlflow.pyfunc.load_model("models:/digits@staging")
answers = model.predict({{"image": examples["inputs.image"]}})
assert (answers["label"] == examples["outputs.label"]).all()
assert abs(answers["probabilities"] - examples["outputs.probabilities"]).max() < 1e-4
assert not {{"jax", "lepton_jax"}} & set(sys.modules)
print(model.metadata.get_input_schema())
"""
    done = subprocess.run(
        [binaries / "python", "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['image': Tensor('uint8', (-1, 8, 8, 1))]"


def test_mlflow_serves_a_registered_version(
    promoted: Path, binaries: Path, environment: dict[str, str]
):
    examples = load_file(promoted / "examples/examples.safetensors")
    line = [binaries / "mlflow", "models", "serve", "-m", "models:/digits@staging"]
    with listening([*line, "--env-manager", "local"], environment, "ping") as address:
        asked = {"inputs": {"image": examples["inputs.image"].tolist()}}
        request = urllib.request.Request(
            f"{address}/invocations",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)["predictions"]
    np.testing.assert_array_equal(said["label"], examples["outputs.label"])


def test_the_page_of_a_version_tells_what_it_is(
    promoted: Path, binaries: Path, environment: dict[str, str], tmp_path: Path
):
    line = [binaries / "mlflow", "server", "--workers", "1"]
    line += ["--backend-store-uri", environment["MLFLOW_TRACKING_URI"]]
    with (
        listening(line, environment, "health") as address,
        open_chromium(tmp_path / "chromium") as browser,
    ):
        version = f"{address}/#/models/digits/versions/1"
        page = text_of_page(browser, version, "lepton.bundle_id")
    assert "sha256:" in page
    assert "@ staging" in page
    assert "Inputs (1)" in page
    assert "Intended use" in page  # its card


@contextmanager
def listening(line: list[str | Path], environment: dict[str, str], path: str) -> Iterator[str]:
    """Runs a server until the block ends. Yields its address once `path` answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([*line, "--port", str(port)], env=environment, start_new_session=True)
    try:
        for _ in range(120):
            time.sleep(1)
            assert server.poll() is None, "the server has ended"
            try:
                urllib.request.urlopen(f"{address}/{path}", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                continue
        else:
            pytest.fail(f"{address}/{path} does not answer")
        yield address
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def text_of_page(browser: Any, address: str, wanted: str) -> str:
    """Returns the text of a page once it has `wanted`."""
    browser.get(address)
    for _ in range(60):
        text = str(browser.find_element("tag name", "body").text)
        if wanted in text:
            return text
        time.sleep(0.5)
    pytest.fail(f"{wanted!r} is not on the page: {text}")
