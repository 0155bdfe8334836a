"""Runs a command line: prints what the command returns, and exits.

Exit code 0 only on success, 2 for a user's mistake, 1 for a failure of the work itself. It does not
depend on who reads what is printed.
"""

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress

from lepton_jax.cli.document import format_document
from lepton_jax.cli.failures import check_xla_flags, explain_failure
from lepton_jax.cli.help import HELP_WORDS, format_help
from lepton_jax.cli.parse import parse_line, split_line
from lepton_jax.cli.put_right import put_right
from lepton_jax.cli.table import Commands
from lepton_jax.cli.ways import format_ways, format_words
from lepton_jax.console import say, secure_streams
from lepton_jax.errors import UserError, WorkError, exit_code_of_error
from lepton_jax.result import Result, StreamedResult, exit_code_of
from lepton_jax.version import __version__


def main(commands: Commands, line: Sequence[str] | None = None) -> None:
    """Runs a command line, by default this process's own, and exits."""
    secure_streams()
    line = sys.argv[1:] if line is None else line
    _find_users_modules()
    try:
        code, _ = run_line(commands, line)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code)


def _find_users_modules() -> None:
    """Lets a config name modules of the user's own, which lie where the command is given.

    A bundle is no such place: its files are data from elsewhere, and one may be called numpy.py.
    """
    with suppress(OSError):  # the current folder is gone: `_run` says so
        here = os.getcwd()
        below = [here, os.path.dirname(here), os.path.dirname(os.path.dirname(here))]
        if any(os.path.lexists(os.path.join(folder, "manifest.json")) for folder in below):
            sys.path[:] = [p for p in sys.path if p not in ("", here)]
        else:
            sys.path.insert(0, here)


def run_line(commands: Commands, line: Sequence[str]) -> tuple[int, Result | None]:
    """Runs a command line. Returns its exit code, and its result if it came that far."""
    try:
        return _run(commands, line)
    except (UserError, WorkError) as e:
        _say_error(e, line)
        return exit_code_of_error(e), None
    except Exception as e:
        explained = explain_failure(e)
        if explained is None:
            raise
        _say_error(explained, line)
        return exit_code_of_error(explained), None


def _say_error(error: UserError | WorkError, line: Sequence[str]) -> None:
    """Says what is wrong, and below it the command to try where there is one."""
    say(f"error: {error}")
    if words := _line_to_try(error, line):
        say(f"Try: {format_words(words)}")
    if isinstance(error, UserError):
        for said in format_ways(error.ways, line):
            say(said)


def _line_to_try(error: UserError | WorkError, line: Sequence[str]) -> Sequence[str]:
    if not isinstance(error, UserError):
        return ()
    if error.try_line or not error.instead:
        return error.try_line or ()
    return put_right(line, *error.instead)


def _run(commands: Commands, line: Sequence[str]) -> tuple[int, Result | None]:
    if not line or line[0] in (*HELP_WORDS, "help"):
        _show([commands.overview(), "\n"])
        return 0, None
    if line[0] == "--version":
        _show([f"lepton_jax {__version__}\n"])
        return 0, None
    name, *words = line
    command = commands.find_of(line)
    if any(word in HELP_WORDS for word in split_line(command, words)[0]):
        _show([format_help(name, command), "\n"])
        return 0, None
    arguments, as_json = parse_line(commands, line)
    _check_current_folder()
    check_xla_flags()
    result: Result = command(**arguments)
    if as_json:
        document = result.as_json()
        _show([] if document is None else [format_document(document), "\n"])
    else:
        if isinstance(result, StreamedResult):
            _show(result.stream())
        if text := str(result):
            _show([text, "\n"])
    return exit_code_of(result), result


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except OSError as e:
        raise WorkError(
            f"the current folder is gone ({e.strerror}): cd to one that exists"
        ) from None


def _show(pieces: Iterable[str]) -> None:
    """Prints pieces of text to stdout as they come, until nobody reads them.

    Raises:
      WorkError: when stdout cannot be written, as on a full disk.
    """
    for piece in pieces:
        try:
            print(piece, end="", flush=True)
        except OSError as e:
            # What is left in Python's buffer would fail again when this process ends.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(e, BrokenPipeError):  # e.g. `| head`: the reader has seen enough
                return
            raise WorkError(
                f"the work is done, but its result cannot be written to stdout: {e.strerror}"
            ) from None
