"""Command lines in messages begin as this process was started, so that they can be pasted."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.console import format_command, format_program

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `bin` of an environment below the current folder, which PATH does not name."""
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "lepton").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    return programs


def test_the_program_is_the_one_that_was_started(venv: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["launch.py"])
    assert format_program() == ".venv/bin/python launch.py"
    monkeypatch.setattr(sys, "argv", [str(ROOT / "lepton_jax/__main__.py")])
    assert format_program() == ".venv/bin/python -m lepton_jax"
    monkeypatch.setattr(sys, "argv", [str(venv / "lepton")])
    assert format_program() == ".venv/bin/lepton"
    monkeypatch.setattr(sys, "argv", ["/somewhere/ipykernel_launcher.py"])
    assert format_program() == ".venv/bin/lepton"
    (venv / "lepton").unlink()
    assert format_program() == ".venv/bin/python -m lepton_jax"
    monkeypatch.chdir(ROOT)
    assert format_program() == f"{venv}/python -m lepton_jax"


def test_what_path_finds_goes_by_its_name(venv: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{venv}:/usr/bin")
    monkeypatch.setattr(sys, "argv", ["launch.py"])
    assert format_program() == "python launch.py"
    monkeypatch.setattr(sys, "argv", [str(venv / "lepton")])
    assert format_program() == "lepton"


def test_a_flag_with_blanks_is_quoted_as_a_shell_reads_it(venv: Path):
    line = format_command("train --longer", workdir="my runs/1", **{"config.seed": 3})
    assert line == ".venv/bin/lepton train --longer --workdir='my runs/1' --config.seed=3"
    assert shlex.split(line)[3] == "--workdir=my runs/1"


def test_what_a_mistake_says_to_try_can_be_pasted():
    started = [sys.executable, "-m", "lepton_jax", "train", "--longer=maybe"]
    done = subprocess.run(started, capture_output=True, text=True, cwd=ROOT)
    line = done.stderr.splitlines()[-1].removeprefix("Try: ")
    again = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert again.returncode == 0, line
    assert again.stdout.startswith(f"usage: {line.removesuffix(' --help')}")
