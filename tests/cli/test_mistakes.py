"""Mistakes on a command line: one line names the cause and the cure, before JAX is imported."""

import shlex
from pathlib import Path

import pytest

from lepton_jax.cli.parse import parse_line
from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from lepton_jax.config.config_file import load_config
from lepton_jax.console import format_command
from tests.cli.home import ROOT, make_home
from tests.cli.light import Told, answer_lines
from tests.cli.mistakes import NEW, OLD, SLOW, Mistake, is_cured, said_lines


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_home(folder)
    return folder


@pytest.fixture(scope="module")
def answers(home: Path) -> dict[Mistake, Told]:
    """What each line is answered by, all lines of a folder in one process."""
    told: dict[Mistake, Told] = {}
    for at_home, folder in ((False, ROOT), (True, home)):
        rows = [row for row in (*OLD, *NEW) if row.at_home == at_home]
        said = answer_lines([row.line for row in rows], folder, LEPTON_JAX_REGISTRY=str(home))
        told |= dict(zip(rows, said, strict=False))
    return told


@pytest.mark.parametrize("mistake", [*OLD, *NEW], ids=lambda mistake: mistake.line)
def test_a_mistake_is_told_in_one_line_with_its_cure(
    mistake: Mistake, answers: dict[Mistake, Told]
):
    told = answers[mistake]
    error, proposed = said_lines(told.errors)
    assert (told.code, told.out, told.heavy) == (2, "", [])
    assert told.errors[0] == error
    assert mistake.cause in error
    assert not mistake.cure or is_cured(mistake, error, proposed), told.errors


def test_what_is_proposed_for_a_config_is_right(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(home)
    missing = ("model.name=pkg", "source.name=folder", "name=adam", "source.dataset")
    for mistake in NEW:
        cure = mistake.cure
        if cure.startswith("train") and not any(word in cure for word in missing):
            arguments, _ = parse_line(COMMANDS, shlex.split(cure))
            load_config(arguments["config"], arguments["overrides"])


@pytest.mark.slow
@pytest.mark.parametrize("mistake", SLOW, ids=lambda mistake: mistake.line)
def test_a_mistake_that_data_or_devices_show_is_told_with_its_cure(
    mistake: Mistake,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(home)
    assert run_line(COMMANDS, shlex.split(mistake.line))[0] == 2
    said = capsys.readouterr().err.splitlines()
    error, proposed = said_lines(said)
    assert mistake.cause in error
    assert is_cured(mistake, error, proposed), said


def assert_told(line: str, cause: str, cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run_line(COMMANDS, shlex.split(line))
    shown = capsys.readouterr()
    assert (code, result, shown.out) == (2, None, "")
    first, *rest = shown.err.splitlines()
    assert first.startswith("error: ")
    assert cause in first
    if cure:
        assert rest == [f"Try: {format_command(cure)}"]
    else:
        assert all(more.startswith("Try: ") for more in rest)


def test_a_run_without_its_config_is_gone_on_with_by_the_one_in_its_workdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path.parent)
    go_on = f"train --config={tmp_path.name}/config.json --workdir={tmp_path.name}"
    assert_told(
        f"train --workdir={tmp_path.name}", "--config is missing; the run in", go_on, capsys
    )


def test_the_nearest_recipe_may_be_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/photos.py").touch()
    monkeypatch.chdir(tmp_path)
    said = "no recipe of lepton_jax has this name (did you mean 'photos'?)"
    assert_told("train --config=photoz", said, "train --config=photos", capsys)


def test_of_several_mistakes_each_says_where_it_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = (ROOT / "configs/digits_cnn.py").read_text()
    recipe = tmp_path / "r.py"
    recipe.write_text(text.replace('"adamw"', '"adamx"'))
    assert "adamx" in recipe.read_text()
    line = ["train", f"--config={recipe}", "--workdir=w", "--config.batch_size=0"]
    assert run_line(COMMANDS, line)[0] == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: 2 problems in {recipe} and on the command line:",
        "  optimizer.name: no optimizer is called 'adamx' (did you mean 'adamax'?), or your own as "
        "'my_pkg.module:Name'",
        "  --config.batch_size: expected int > 0, got 0",
    ]
