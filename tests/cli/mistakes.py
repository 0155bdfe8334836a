"""The lists of mistakes in one form, and what counts as their cure.

A cure is the command that is proposed, without the program. Where no command can be guessed, it is
words of the error that say what to write or do: they begin with `; ` or `(did you mean`.
"""

import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lepton_jax.cli.parse import parse_line
from lepton_jax.commands import COMMANDS
from lepton_jax.console import format_program
from lepton_jax.errors import UserError
from tests.cli import new_mistakes, old_mistakes

IN_WORDS = ("; ", "(did you mean ")


class Mistake(NamedTuple):
    """A mistaken command line."""

    line: str
    cause: str
    """What the error says among other words."""
    cure: str
    at_home: bool
    """It is given in the folder of `home.py`; others in the checkout."""


def _in_one_form(
    rows: Iterable[tuple[str, str, str]], start: str = "", at_home: bool = True
) -> list[Mistake]:
    """Returns rows as mistakes. `start`: what stands before rows of overrides of a config."""
    if not start:
        return [Mistake(*row, at_home) for row in rows]
    return [
        Mistake(
            f"{start} --config.{key}",
            cause,
            cure if not cure or cure.startswith(IN_WORDS) else f"{start} --config.{cure}",
            at_home,
        )
        for key, cause, cure in rows
    ]


OLD = [
    *_in_one_form(old_mistakes.LINES, at_home=False),
    *_in_one_form(old_mistakes.CONFIG_LINES, old_mistakes.TINY, at_home=False),
    *_in_one_form(old_mistakes.LOOKS),
]
NEW = [
    *_in_one_form(new_mistakes.CONFIG_LINES, new_mistakes.MINE),
    *_in_one_form(new_mistakes.LINES),
]
SLOW = _in_one_form(new_mistakes.SLOW_CONFIG_LINES, new_mistakes.MINE)
"""New ones that data or devices show, for which JAX is imported."""


def is_cured(mistake: Mistake, error: str, proposed: Sequence[str]) -> bool:
    """Tells whether an answer holds the cure: the error says its words, or one of the proposed
    commands is the one of the row, can be given, and is neither the mistake nor a look at help.
    Of a command without its flags, `fit`, the right name alone is the cure: `train`.
    """
    if not mistake.cure or mistake.cure.startswith(IN_WORDS):
        return bool(mistake.cure) and mistake.cure in error
    given = shlex.split(mistake.cure)
    if "--help" in given or given == shlex.split(mistake.line) or mistake.cure not in proposed:
        return False
    try:
        parse_line(COMMANDS, given)
    except UserError as e:
        return len(given) == len(shlex.split(mistake.line)) and "is missing" in str(e)
    return True


def said_lines(said: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the error among the lines on stderr, and the commands proposed, without the program.

    The error is '' where there is not just one.
    """
    errors = [line for line in said if line.startswith("error: ")]
    tried = [line.removeprefix("Try: ").strip() for line in said if line not in errors]
    program = f"{format_program()} "
    proposed = [
        line.removeprefix(program) if line.startswith(program) else line.partition("launch.py ")[2]
        for line in tried
    ]
    return errors[0] if len(errors) == 1 else "", proposed
