"""What an installed package brings: a command, a version, recipes; and what it says is missing."""

import importlib.metadata
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import lepton_jax
from lepton_jax.installation import format_install, read_extras

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_an_extra_is_installed_by_its_own_requirements():
    for extra, requirements in PROJECT["optional-dependencies"].items():
        assert shlex.split(format_install(extra))[-len(requirements) :] == requirements
    assert shlex.split(format_install("pycocotools"))[-1].startswith("pycocotools>=")
    assert shlex.split(format_install("a-package-of-yours"))[-1] == "a-package-of-yours"


def test_the_version_is_the_same_wherever_it_stands():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == lepton_jax.__version__
    done = subprocess.run(
        [sys.executable, "launch.py", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == f"lepton_jax {lepton_jax.__version__}\n"


@pytest.mark.parametrize("file", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda f: f.name)
def test_files_for_the_host_of_the_repository_can_be_read(file: Path):
    assert yaml.safe_load(file.read_text())


def test_every_requirement_can_be_read_by_an_installer():
    for requirements in read_extras().values():
        assert all(Requirement(r).name for r in requirements)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the wheel of this repository, unpacked by pip."""
    found = importlib.metadata.distributions(name="setuptools")
    if Version(next((d.version for d in found), "0")) < Version("77"):
        pytest.skip("setuptools is older than 77: pip install -e '.[dev]'")
    base = tmp_path_factory.mktemp("installed")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.split("\0")  # fmt: skip
    for file in filter(None, files):
        if (ROOT / file).is_file():
            (base / "source" / file).parent.mkdir(parents=True, exist_ok=True)
            (base / "source" / file).write_bytes((ROOT / file).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    built = [*pip, "--no-build-isolation", f"--target={base / 'site'}", str(base / "source")]
    subprocess.run(built, check=True)
    return base / "site"


@pytest.mark.slow
def test_the_wheel_has_all_that_its_command_needs(installed: Path, tmp_path: Path):
    variables = {**os.environ, "PYTHONPATH": str(installed)}

    def say(*words: str) -> str:
        program = [sys.executable, str(installed / "bin/lepton"), *words]
        done = subprocess.run(
            program, capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert say("--version") == f"lepton_jax {lepton_jax.__version__}\n"
    assert "parameters" in say("train", "--config=digits_cnn:tiny", "--dry_run", "--workdir=w")
    assert "logistic" in say("ablate", "--experiment=mnist1d", "--dry_run", "--workdir=e")
    assert (installed / "lepton_jax/py.typed").is_file()
    code = (
        "from lepton_jax.installation import format_install, read_extras\n"
        "print(*read_extras()['plan-tpu'], format_install('wandb'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=variables
    )
    assert done.stdout.startswith("jax[tpu]>=")
    assert "install 'wandb>=" in done.stdout
