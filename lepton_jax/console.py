"""What commands show on a terminal: messages on stderr, command lines, tables of padded columns.

Who listens decides nothing: what cannot be written to stderr is not said, and the work goes on.
"""

import io
import os
import shlex
import shutil
import sys
from collections.abc import Container, Sequence
from contextlib import suppress
from typing import Any, TextIO


def say(message: str) -> None:
    """Prints a message to `error_stream`: stdout holds nothing but a command's result."""
    stream = error_stream()
    with suppress(OSError, ValueError):  # broken, full, closed, or encoded for fewer characters
        print(message, file=stream, flush=True)


def write_to_stderr(text: str) -> None:
    """Writes a line to stderr past Python's buffers, whose lock a blocked thread may hold."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def error_stream() -> TextIO:
    """Returns where messages go: stderr, or stdout in a notebook, which marks stderr as failures.

    It is a stream that keeps nothing where this process has none.
    """
    stream = sys.stdout if is_notebook() else sys.stderr
    return stream or null_stream()


def is_notebook() -> bool:
    """Tells whether this process shows its output in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and shell.__class__.__name__ != "TerminalInteractiveShell"


def null_stream() -> TextIO:
    """Returns a stream that keeps nothing."""
    return open(os.devnull, "w", encoding="utf-8")


def secure_streams() -> None:
    """Makes the standard streams of this process safe to print to, whatever they are.

    A closed one becomes the null device: else the next file that is opened, a record's or a
    database's, would have its number, and get what libraries print. A character that a stream's
    encoding lacks is written as an escape. A stderr that breaks is silent from then on.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if type(sys.stderr) is io.TextIOWrapper:  # not one that catches what is written, or this again
        sys.stderr = _Unbreakable(sys.stderr)


class _Unbreakable(io.TextIOWrapper):
    """A text stream whose errors are nobody's business."""

    def __init__(self, stream: io.TextIOWrapper):
        super().__init__(stream.detach(), stream.encoding, "backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def can_show(text: str, stream: Any) -> bool:
    """Tells whether a stream's encoding has all characters of `text`; a stream of texts has."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def format_command(line: str, **flags: object) -> str:
    """Returns a command line that can be pasted: the program as it was started here, then `line`.

    A flag `workdir="my runs/1"` becomes `--workdir='my runs/1'`, at the end.
    """
    words = (f"--{name}={shlex.quote(str(value))}" for name, value in flags.items())
    return " ".join((format_program(), line, *words))


def format_program() -> str:
    """Returns the words that start the command line: `lepton`, `.venv/bin/python launch.py` or
    `python -m lepton_jax`, whichever this process was started by.

    A process that was started otherwise, such as a notebook's, gets what works there.
    """
    program = sys.argv[0] if sys.argv else ""
    python = format_python()
    if os.path.basename(program) == "launch.py":
        return f"{python} {shlex.quote(_shorten_path(program))}"
    package = os.path.dirname(os.path.abspath(__file__))
    if os.path.basename(program) != "lepton":
        installed = os.path.join(os.path.dirname(sys.executable or ""), "lepton")
        if program.startswith(package) or not os.path.isfile(installed):
            return f"{python} -m lepton_jax"
        program = installed
    return _shorten_program(program, "lepton")


def format_python() -> str:
    """Returns the shortest word that starts this process's Python: `python`, `.venv/bin/python`."""
    return _shorten_program(sys.executable or "python", "python", "python3")


def _shorten_program(path: str, *names: str) -> str:
    """Returns the name by which PATH finds the program `path`, or its path, from here if below."""

    def identify(file: str) -> tuple[str, str]:  # a venv's python is a link to another's
        return os.path.realpath(os.path.dirname(file)), os.path.realpath(file)

    for name in names:
        if (found := shutil.which(name)) and identify(found) == identify(path):
            return name
    near = _shorten_path(path)
    return shlex.quote(near if os.sep in near else os.path.join(os.curdir, near))


def _shorten_path(path: str) -> str:
    """Returns a path from the current folder, where it lies below that; else as it is."""
    with suppress(OSError):  # the current folder is gone
        near = os.path.relpath(path)
        return path if near.startswith(os.pardir) else near
    return path


def terminal_width() -> int | None:
    """Returns the columns of the terminal that stdout is; None where it is none: nothing is cut."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def cut_text(text: str, most: int) -> str:
    """Cuts a text in its middle to at most so many characters."""
    if len(text) <= most:
        return text
    mark = "…" if can_show("…", sys.stdout) else "..."
    tail = max(1, (most - len(mark)) // 2)
    return text[: max(1, most - len(mark) - tail)] + mark + text[-tail:]


def format_table(rows: Sequence[Sequence[str]], *, right: Container[int] = ()) -> list[str]:
    """Formats rows of cells as lines in which every column is as wide as its widest cell.

    Two spaces stand between columns. The columns whose indices are in `right` are aligned to the
    right, and the others to the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
