"""What a look at a path or a name can tell is told at once: JAX and MLflow are not imported."""

import shlex
from pathlib import Path

import pytest

from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from lepton_jax.console import format_command
from tests.cli.home import ROOT, make_home
from tests.cli.light import assert_imports_nothing_heavy

CONFIG = f"--config={ROOT}/configs/digits_cnn.py"

LINES: list[tuple[str, str, str]] = [
    ("evaluate --workdir=runs/digit", "(did you mean 'digits'?)", "evaluate --workdir=runs/digits"),
    (
        "evaluate --workdir=digits",
        "(did you mean 'runs/digits'?)",
        "evaluate --workdir=runs/digits",
    ),
    ("evaluate --workdir=runs", "runs holds no record of a run", "runs ."),
    ("evaluate --workdir=rnus/a", "(nor a folder rnus)", ""),
    ("evaluate --workdir=runs/digits --checkpoint=bets", "which has 10, 20", ""),
    ("export --workdir=runs/digits --out=b --checkpoint=15", "which has 10, 20", ""),
    ("export --workdir=runs/digit --out=b", "", "export --workdir=runs/digits --out=b"),
    (
        "export --workdir=runs/digits --out=b --format=onnx",
        "expected bundle, hugging_face, lora",
        "",
    ),
    ("export --workdir=runs/digits --out=file/b", "cannot create file: ", ""),
    ("debug --workdir=runs/digit --step=1", "", "debug --workdir=runs/digits --step=1"),
    ("generate --workdir=runs/digit", "", "generate --workdir=runs/digits"),
    ("generate --bundle=bundles/digit", "", "generate --bundle=bundles/digits"),
    ("predict --bundle=bundles/digit a.png", "there is no such folder", ""),
    ("predict --bundle=runs/digits a.png", "", "predict --bundle=runs/digits/bundle a.png"),
    ("verify --bundle=bundles/digit", "", "verify --bundle=bundles/digits"),
    ("verify --bundle=bundles/digits --workdir=no", "no holds no record", ""),
    ("register --bundle=bundles/digit --model=m", "there is no such folder (did you mean", ""),
    ("promote --bundle=bundles/digit --model=m", "there is no such folder (did you mean", ""),
    ("promote --model=digit", "no model is called 'digit'", ""),
    ("predict --model=digit@staging a.png", "(did you mean 'digits'?)", ""),
    ("generate --model=nosuch", "no model is called 'nosuch'", ""),
    ("registry show --model=digit", "(did you mean 'digits'?)", ""),
    ("registry history --model=digit", "(did you mean 'digits'?)", ""),
    (f"train {CONFIG} --workdir=file", "cannot create file: ", ""),
    (f"train {CONFIG} --workdir=file/below", "cannot create file/below: ", ""),
    (f"ablate {CONFIG} --workdir=file", "cannot create file: ", ""),
    ("reproduce --experiment=no.py --workdir=file", "cannot create file: ", ""),
    ("reproduce --experiment=no.py", "there is no file no.py", ""),
    (f"augment {CONFIG} --out=no/x.png", "there is no folder no", ""),
    ("watch --workdir=runs/rate", "(did you mean 'rates'?)", "watch --workdir=runs/rates"),
    ("pack --folder=runs/rates", "runs/rates holds no pack (no pack.json)", ""),
    (f"train {CONFIG}:tiny --config.seed=3 --workdir=runs/other", "holds a run of another", ""),
    (f"train {CONFIG}:tiny --config.seed=3 --workdir=runs/other --dry_run", "of another", ""),
    ("runs rnus", "rnus is not a folder (did you mean 'runs'?)", "runs runs"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, a bundle, an experiment and a registry, as far as a look goes."""
    make_home(tmp_path)
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("line", "cause", "cure"), LINES, ids=[line for line, _, _ in LINES])
def test_a_look_tells_the_mistake_and_changes_nothing(
    line: str, cause: str, cure: str, home: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(home.rglob("*"))
    assert run_line(COMMANDS, shlex.split(line)) == (2, None)
    shown = capsys.readouterr()
    first, *rest = shown.err.splitlines()
    assert shown.out == ""
    assert first.startswith("error: ")
    assert cause in first
    assert not cure or rest == [f"Try: {format_command(cure)}"]
    assert sorted(home.rglob("*")) == before


def test_a_look_imports_neither_jax_nor_mlflow(home: Path):
    assert_imports_nothing_heavy((line for line, _, _ in LINES), home)


def test_a_question_to_the_registry_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "registry"))
    assert run_line(COMMANDS, ["registry", "list"])[0] == 0
    assert "no models yet" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
