"""Runs a command line: prints what the command returns, and exits.

Exit code 0 only on success, 2 for a user's mistake, 1 for a failure of the work itself.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence

from lepton_jax.cli.help import HELP_WORDS, format_help
from lepton_jax.cli.parse import parse_line, split_line
from lepton_jax.cli.table import Commands
from lepton_jax.errors import UserError, WorkError
from lepton_jax.result import Result, StreamedResult, exit_code_of


def main(commands: Commands, line: Sequence[str] | None = None) -> None:
    """Runs a command line, by default this process's own, and exits."""
    line = sys.argv[1:] if line is None else line
    # A config may name modules of the user's own, which lie where the command is given.
    sys.path.insert(0, os.getcwd())
    try:
        code, _ = run_line(commands, line)
    except BrokenPipeError:  # e.g. `| head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.stdout.flush()
    sys.exit(code)


def run_line(commands: Commands, line: Sequence[str]) -> tuple[int, Result | None]:
    """Runs a command line. Returns its exit code, and its result if it came that far."""
    try:
        return _run(commands, line)
    except UserError as e:
        print(e, file=sys.stderr)
        return 2, None
    except WorkError as e:
        print(e, file=sys.stderr)
        return 1, None


def _run(commands: Commands, line: Sequence[str]) -> tuple[int, Result | None]:
    if not line or line[0] in (*HELP_WORDS, "help"):
        print(commands.overview())
        return 0, None
    name, *words = line
    command = commands[name]
    if any(word in HELP_WORDS for word in split_line(command, words)[0]):
        print(format_help(name, command))
        return 0, None
    arguments, as_json = parse_line(commands, line)
    result: Result = command(**arguments)
    if as_json:
        document = result.as_json()
        if document is not None:
            print(json.dumps(document, indent=2))
    else:
        if isinstance(result, StreamedResult):
            for piece in result.stream():
                print(piece, end="", flush=True)
        if text := str(result):
            print(text)
    return exit_code_of(result), result
