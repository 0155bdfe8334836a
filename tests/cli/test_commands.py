"""One file a command, and one table of them: what a command is, and what its result can do."""

import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax import api, commands
from lepton_jax.cli.parse import parse_line
from lepton_jax.cli.run import run_line
from lepton_jax.cli.table import Commands
from lepton_jax.commands import COMMANDS, find_command
from lepton_jax.errors import UserError, WorkError

ROOT = Path(__file__).parent.parent.parent


class Result:
    """What every result has, and what `parts` give it besides."""

    def __init__(self, **parts: object):
        vars(self).update(parts)

    def __str__(self) -> str:
        return "shown"

    def as_json(self) -> dict[str, int]:
        return {"n": 1}


def run(result: object, *words: str) -> int:
    return run_line(Commands({"": {"do": "does"}}, lambda name: lambda: result), ["do", *words])[0]


def test_the_table_the_folder_and_the_api_hold_the_same_commands():
    files = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    assert COMMANDS.summaries.keys() == files - {"worker"}
    for name in COMMANDS.summaries:
        assert getattr(api, name) is find_command(name)


def test_a_command_says_the_type_of_each_flag_and_of_what_it_returns():
    for name in COMMANDS.summaries:
        signature = inspect.signature(find_command(name))
        assert signature.return_annotation is not signature.empty, name
        assert all(p.annotation is not p.empty for p in signature.parameters.values()), name


def test_importing_the_api_imports_nothing_heavy():
    code = (
        "import sys, lepton_jax.api\n"
        "heavy = {'jax', 'numpy', 'flax', 'mlflow', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_result_decides_on_the_exit_code():
    assert run(Result()) == 0
    assert run(Result(ok=True)) == 0
    assert run(Result(ok=False)) == 1
    assert run(Result(exit_code=143)) == 143


@pytest.mark.parametrize(("error", "code"), [(UserError("u"), 2), (WorkError("w"), 1)])
def test_an_error_is_one_line_on_stderr(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise error

    assert run_line(Commands({"": {"do": ""}}, lambda name: fail), ["do"]) == (code, None)
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_a_result_is_shown_or_written_as_one_document(capsys: pytest.CaptureFixture[str]):
    def stream() -> Iterator[str]:
        yield "first "

    run(Result(stream=stream))
    assert capsys.readouterr().out == "first shown\n"
    run(Result(stream=stream), "--json")
    assert capsys.readouterr().out == '{\n  "n": 1\n}\n'


def test_flags_have_the_types_of_the_parameters():
    def do(
        inputs: Sequence[str] = (),
        *,
        count: int = 1,
        rate: float = 0.5,
        price: float | None = None,
        names: tuple[str, ...] = (),
        vary: Sequence[str] = (),
        dry: bool = False,
    ) -> None: ...

    commands = Commands({"": {"do": ""}}, lambda name: do)
    assert parse_line(commands, ["do"]) == (
        {
            "inputs": (), "count": 1, "rate": 0.5, "price": None, "names": [], "vary": [],
            "dry": False,
        },
        False,
    )  # fmt: skip
    words = "do a --count=2 b --rate=1 --price=2 --names=x,y --vary p=1,2 --vary q=3 --dry --json"
    assert parse_line(commands, words.split()) == (
        {
            "inputs": ("a", "b"), "count": 2, "rate": 1.0, "price": 2.0, "names": ["x", "y"],
            "vary": ["p=1,2", "q=3"], "dry": True,
        },
        True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--price=cheap", "do: --price=cheap: expected a number"),
        ("--count=1.5", "do: --count=1.5: expected a whole number"),
        ("--cuont=1", "do: no flag --cuont (did you mean --count=1?)"),
    ],
)
def test_a_flag_of_another_type_says_what_is_expected(flag: str, said: str):
    def do(*, count: int = 1, price: float | None = None) -> None: ...

    with pytest.raises(UserError) as refused:
        parse_line(Commands({"": {"do": ""}}, lambda name: do), ["do", flag])
    assert str(refused.value).startswith(said)


def test_a_notebook_cannot_start_processes_and_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "orig_argv", ["python", "notebook.py"])
    with pytest.raises(UserError, match="started from a command line"):
        lepton_jax.train(f"{ROOT}/configs/digits_cnn.py:tiny", str(tmp_path), processes=2)
