"""A hundred mistakes more: each is answered at once, and what is proposed is right."""

import shlex
from pathlib import Path

import pytest

from lepton_jax.cli.parse import parse_line
from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from lepton_jax.config.config_file import load_config
from tests.cli.home import make_home
from tests.cli.light import Told, answer_lines
from tests.cli.new_mistakes import CONFIG_LINES, LINES, MINE, SLOW_CONFIG_LINES


def whole_lines(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The command lines of rows of overrides."""
    return [
        (f"{MINE} --config.{key}", cause, f"{MINE} --config.{cure}" if cure else "")
        for key, cause, cure in rows
    ]


ROWS = [*whole_lines(CONFIG_LINES), *LINES]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_home(folder)
    return folder


@pytest.fixture(scope="module")
def answers(home: Path) -> dict[str, Told]:
    """What each line is answered by, all in one process."""
    lines = [line for line, _, _ in ROWS]
    told = answer_lines(lines, home, LEPTON_JAX_REGISTRY=str(home))
    return dict(zip(lines, told, strict=False))


@pytest.mark.parametrize(("line", "cause", "cure"), ROWS, ids=[line for line, _, _ in ROWS])
def test_a_new_mistake_is_told_with_its_cure(
    line: str, cause: str, cure: str, answers: dict[str, Told]
):
    told = answers[line]
    assert (told.code, told.out, told.heavy) == (2, "", [])
    assert told.errors[0].startswith("error: ")
    assert cause in told.errors[0]
    assert not cure or told.cure == cure


def test_what_is_proposed_for_a_config_is_right(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(home)
    for _, _, cure in ROWS:
        missing = ("model.name=pkg", "source.name=folder", "name=adam", "--help")
        if cure.startswith("train") and not any(word in cure for word in missing):
            arguments, _ = parse_line(COMMANDS, shlex.split(cure))
            load_config(arguments["config"], arguments["overrides"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "cause", "cure"),
    whole_lines(SLOW_CONFIG_LINES),
    ids=[key for key, _, _ in SLOW_CONFIG_LINES],
)
def test_a_mistake_that_data_or_devices_show_is_told_with_its_cure(
    line: str,
    cause: str,
    cure: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(home)
    assert run_line(COMMANDS, shlex.split(line))[0] == 2
    said = capsys.readouterr().err.splitlines()
    (error,) = (line for line in said if line.startswith("error: "))
    assert cause in error
    assert not cure or said[-1].endswith(f" {cure}")
