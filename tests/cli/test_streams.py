"""Whoever listens, the result is the same, or one sentence says why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.cli.run import run_line
from lepton_jax.cli.table import Commands

ROOT = Path(__file__).parent.parent.parent
LAUNCH = f"{sys.executable} {ROOT}/launch.py"

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from lepton_jax import console
from lepton_jax.cli.run import main
from lepton_jax.cli.table import Commands

class Said:
    ok = True
    def __str__(self):
        return "result \\u2591 \\N{{SNOWMAN}}\\n" * 3
    def as_json(self):
        return {{"x": float("nan")}}

def work(kept: str) -> Said:
    '''Works.'''
    for i in range(3):
        console.say(f"step {{i}} \\N{{SNOWMAN}}")
        console.write_to_stderr("and past the buffers")
    with open(kept, "w") as file:  # its number is none of the standard streams'
        file.write(str(file.fileno() > 2))
    import warnings
    warnings.warn("of a library")
    print("of a library as well", file=sys.stderr)
    return Said()

main(Commands({{"": {{"work": "works"}}}}, lambda name: work))
"""


def run_shell(command: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT)))
    command = command.replace("PROGRAM", f"{sys.executable} {program} work --kept={tmp_path}/kept")
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **env},
        cwd=tmp_path,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("PROGRAM 2>&-", 0),
        ("PROGRAM >&-", 0),
        ("PROGRAM <&- >&- 2>&-", 0),
        ("PROGRAM 2>/dev/full", 0),
        ("PROGRAM 2> >(true)", 0),
        ("PROGRAM | true", 0),
        ("PROGRAM 2>&1 | head -1", 0),
        ("PROGRAM >/dev/full", 1),
        ("PYTHONIOENCODING=ascii PROGRAM", 0),
        ("PYTHONIOENCODING=latin-1 PROGRAM", 0),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PROGRAM", 0),
        ("PYTHONIOENCODING=utf-16 PROGRAM", 0),
        ("PYTHONUNBUFFERED=1 PROGRAM 2>&-", 0),
        ("TERM=dumb COLUMNS=0 PROGRAM", 0),
        ("env -u TERM -u HOME PROGRAM", 0),
        ("umask 777; PROGRAM", 0),
        ("TZ=Nowhere/Nothing PROGRAM", 0),
    ],
)
def test_work_is_done_whoever_listens(tmp_path, command, code):
    done = run_shell(command, tmp_path)
    assert done.returncode == code, done.stderr
    (tmp_path / "kept").chmod(0o600)
    assert (tmp_path / "kept").read_text() == "True"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert ("cannot be written to stdout" in done.stderr) == bool(code)


class Judged:
    def __init__(self, ok, document=None):
        self.ok, self.document = ok, document

    def __str__(self):
        return "said"

    def as_json(self):
        return self.document


def run_command(command, *words: str) -> tuple[int, str, str]:
    return run_line(Commands({"": {"work": "works"}}, lambda name: command), ["work", *words])  # type: ignore[return-value]


def test_reader_that_leaves_does_not_make_a_bad_result_good(tmp_path):
    program = tmp_path / "bad.py"
    program.write_text(PROGRAM.format(root=str(ROOT)).replace("ok = True", "ok = False"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} {program} work --kept=x | true"],
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(32, "Broken pipe"), 1, "Broken pipe"),
        (OSError(28, "No space left on device", "/x/y"), 1, "/x/y.*make room"),
        (OSError(24, "Too many open files"), 1, "ulimit -n"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), 1, "temporary"),
        (PermissionError(13, "Permission denied", "/root/x"), 1, "Permission denied: /root/x"),
        (OSError("a message alone"), 1, "a message alone"),
        (OSError(), 1, ""),
        (TimeoutError("timed out"), 1, "timed out"),
        (ConnectionResetError(104, "Connection reset by peer"), 1, "reset by peer"),
        (MemoryError(), 1, "memory of this machine"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Exception) else None,
)
def test_what_the_machine_refuses_is_a_sentence_and_no_users_mistake(capsys, error, code, said):
    import re

    def work():
        """Works."""
        raise error

    assert run_command(work)[0] == code
    shown = capsys.readouterr()
    assert re.search(said, shown.err)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_bug_of_ours_keeps_its_traceback():
    def work():
        """Works."""
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_command(work)


def test_json_of_a_number_that_json_lacks_is_json(capsys):
    def work():
        """Works."""
        return Judged(True, {"x": float("nan"), "y": [float("-inf")]})

    assert run_command(work, "--json")[0] == 0
    assert json.loads(capsys.readouterr().out) == {"x": "nan", "y": ["-inf"]}


@pytest.mark.parametrize(
    ("env", "code", "said"),
    [
        ({"XLA_FLAGS": "--xla_foo=1"}, 2, "XLA_FLAGS=--xla_foo=1: Unknown flag"),
        ({"XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}, 0, ""),
        pytest.param(
            {"XLA_FLAGS": "/nonexistent"},
            2,
            "XLA_FLAGS=/nonexistent: Could not open",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"XLA_FLAGS": "--xla_force_host_platform_device_count=8x"},
            2,
            "Couldn't interpret value 8x",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_flags_that_end_xla_are_one_sentence(tmp_path, env, code, said):
    done = run_shell(f"{LAUNCH} runs {tmp_path}", tmp_path, **env)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(code)


def test_folder_that_is_gone_is_one_sentence(tmp_path):
    (tmp_path / "gone").mkdir()
    done = run_shell(f"cd gone; rmdir ../gone; {LAUNCH} runs", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the current folder is gone" in done.stderr


@pytest.mark.parametrize("below", [".", pytest.param("programs/stablehlo", marks=pytest.mark.slow)])
def test_command_given_inside_a_bundle_imports_nothing_from_it(tmp_path, below):
    here = tmp_path / "bundle" / below
    here.mkdir(parents=True)
    (tmp_path / "bundle/manifest.json").write_text("{}")
    for name in ("etils", "numpy", "json", "rich"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    done = run_shell(f"cd {here}; {LAUNCH} runs .; {LAUNCH} verify --bundle=.", tmp_path)
    assert not (tmp_path / "ran").exists(), done.stderr
    assert "Traceback" not in done.stderr
