"""The command line in this process: golden files and old artifacts know no module of the package.

Imports: the standard library only, so that no restructuring of the package touches this file.
"""

import contextlib
import io
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from unittest import mock

ROOT = Path(__file__).parent.parent.parent


class Said(NamedTuple):
    """What a command left: its exit code and the texts it wrote."""

    code: int
    out: str
    err: str


def launch(*argv: str, err: TextIO | None = None) -> Said:
    """Runs `python launch.py ARGV` in this process. `err` takes stderr in the place of the result.

    `sys.argv` begins with the bare `launch.py`, and PATH with the folder of this Python: so neither
    a record nor a message names a folder of this machine.
    """
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    streams = io.StringIO(), err or io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["launch.py", *argv]),
        mock.patch.object(sys, "path", list(sys.path)),
        mock.patch.dict(os.environ, PATH=path),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            runpy.run_path(str(ROOT / "launch.py"), run_name="__main__")
            code: Any = 0
        except SystemExit as e:
            code = e.code or 0
    texts = (s.getvalue() if isinstance(s, io.StringIO) else "" for s in streams)
    return Said(int(code), *texts)


def json_of(*argv: str, code: int = 0) -> Any:
    """Returns the document that `python launch.py ARGV --json` prints; `code`: the expected one."""
    said = launch(*argv, "--json")
    assert said.code == code, f"launch.py {' '.join(argv)} ended {said.code}: {said.err}{said.out}"
    return json.loads(said.out)


def commands() -> list[str]:
    """Returns the names of the commands, as the overview lists them."""
    return [line.split()[0] for line in launch("--help").out.splitlines() if line[:2] == "  "]


@contextlib.contextmanager
def inside(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Makes `folder` the current one, with these environment variables; both go back at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder), mock.patch.dict(os.environ, variables or {}):
        yield folder
