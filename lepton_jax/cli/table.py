"""The table of commands that the command line is handed."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.console import format_command
from lepton_jax.errors import UserError
from lepton_jax.nearest import find_nearest

Command = Callable[..., Any]
"""A function whose parameters are flags and whose docstring is the help; returns a `Result`."""


@dataclass(frozen=True)
class Commands:
    """Every command: its name with a line that says what it does, and how to find it."""

    groups: Mapping[str, Mapping[str, str]]
    """`{heading: {name: line}}`, in the order in which `--help` lists them."""
    find: Callable[[str], Command]
    """Returns the command of a name that is in the table."""

    @functools.cached_property
    def summaries(self) -> dict[str, str]:
        """The line of each command by its name."""
        return {name: line for group in self.groups.values() for name, line in group.items()}

    def find_of(self, line: Sequence[str]) -> Command:
        """Returns the command that a command line begins with, `re-export` as well as `re_export`.

        Raises:
          UserError: for a name that is none, with the nearest one and the line to try.
        """
        name, *words = line
        if (module := name.replace("-", "_")) in self.summaries:
            return self.find(module)
        if name.startswith("-"):
            first = next((word for word in words if word in self.summaries), None)
            rest = [word for word in line if word != first]
            raise UserError(
                f"{name} stands before the command; expected COMMAND [--flags]",
                try_line=[first, *rest] if first else ["--help"],
            )
        near = find_nearest(name, self.summaries)
        if near:
            raise UserError(
                f"there is no command {name!r} (did you mean {near!r}?)", try_line=[near, *words]
            )
        raise UserError(
            f"there is no command {name!r}; there are: {', '.join(self.summaries)}",
            try_line=["--help"],
        )

    def overview(self) -> str:
        """Returns every command with its line, as `--help` shows it."""
        width = max(map(len, self.summaries)) + 2
        lines = [f"usage: {format_command('COMMAND [--flags]')}"]
        for heading, group in self.groups.items():
            lines += ["", *filter(None, [heading])]
            lines += [f"  {name:<{width}}{line}" for name, line in group.items()]
        more = f"{format_command('COMMAND --help')} tells more, with examples."
        return "\n".join([*lines, "", more])
