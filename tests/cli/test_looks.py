"""A look at a path or a name changes nothing. What it tells is in `old_mistakes.py`."""

import shlex
from pathlib import Path

import pytest

from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from tests.cli.home import make_home
from tests.cli.old_mistakes import LOOKS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, a bundle, an experiment and a registry, as far as a look goes."""
    make_home(tmp_path)
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", [line for line, _, _ in LOOKS])
def test_a_look_changes_nothing(line: str, home: Path):
    before = sorted(home.rglob("*"))
    assert run_line(COMMANDS, shlex.split(line)) == (2, None)
    assert sorted(home.rglob("*")) == before


def test_a_question_to_the_registry_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "registry"))
    assert run_line(COMMANDS, ["registry", "list"])[0] == 0
    assert "no models yet" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
