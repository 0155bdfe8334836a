"""The Tab key offers what may stand at the end of a command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.cli.completion import complete_line
from lepton_jax.commands import COMMANDS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lepton trai", ["train "]),
        ("lepton --v", ["--version "]),
        ("lepton train --dry", ["--dry_run "]),
        ("lepton train --config=mnist1d_g", ["--config=mnist1d_gru"]),
        ("lepton ablate --experiment=opt", ["--experiment=optimizers"]),
        ("lepton train --config.ear", ["--config.early_stopping."]),
        ("lepton train --config.data.val", ["--config.data.valid_fraction="]),
        ("lepton train --config=digits_cnn --config.model.drop", ["--config.model.dropout="]),
        ("lepton train --config.optimizer.name=sgd --config.optimizer.mo",
         ["--config.optimizer.momentum="]),
        ("lepton submit --executor=gke train --config=digits_", ["--config=digits_cnn"]),
        ("lepton runs --format=mark", ["--format=markdown "]),
        ("lepton export --out=bund", []),
        ("lepton train --config.seed=", []),
        ("lepton predict image", []),  # a file's name
        ("lepton nothing --", []),
        ("lepton train --config='digits", []),
    ],
)  # fmt: skip
def test_the_last_word_is_completed(line: str, offered: list[str]):
    assert complete_line(COMMANDS, line) == offered


def test_flags_that_are_missing_come_first_and_given_ones_no_more():
    assert complete_line(COMMANDS, "lepton evaluate ")[0] == "--workdir="
    assert "--workdir=" not in complete_line(COMMANDS, "lepton evaluate --workdir=w ")


def test_every_command_can_be_completed():
    for name in COMMANDS.summaries:
        assert "--help " in complete_line(COMMANDS, f"lepton {name} --")


def test_a_users_own_recipes_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/digits_of_mine.py").touch()
    monkeypatch.chdir(tmp_path)
    found = complete_line(COMMANDS, "lepton plan --config=digits_")
    assert found == ["--config=digits_cnn", "--config=digits_of_mine"]


def test_bash_replaces_what_is_behind_the_last_sign(tmp_path: Path):
    """With bash itself, and a `lepton` on its PATH."""
    (tmp_path / "lepton").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/launch.py "$@"\n')
    (tmp_path / "lepton").chmod(0o755)
    line = "lepton train --config=digits_cnn --config.model.pa"
    script = (
        f'PATH="{tmp_path}:$PATH"; eval "$(lepton completion bash)"\n'
        'COMP_LINE="$1" COMP_POINT="${#1}"; _lepton; printf "%s\\n" "${COMPREPLY[@]}"\n'
        'COMP_LINE="$2" COMP_POINT="${#2}"; _lepton; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    words = ["bash", "-c", script, "bash", line, "lepton train --config=digits_"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["--config.model.padding=", "digits_cnn"], done.stderr


def test_completing_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from lepton_jax.cli.completion import complete_line\n"
        "from lepton_jax.commands import COMMANDS\n"
        "complete_line(COMMANDS, 'lepton train --config=digits_cnn --config.model.')\n"
        "heavy = {'jax', 'numpy', 'flax', 'optax', 'ml_collections', 'mlflow'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
