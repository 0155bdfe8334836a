"""The commands of `launch.py`: one file a command, with its function, its help and its result.

The help is the function's docstring, and its parameters are the flags. What a command does lies in
a room of its own, imported when the command is called: importing a command is light.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any


def find_command(name: str) -> Callable[..., Any]:
    """Returns the function `name` of the module `name`, and imports no other command."""
    command: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return command


def list_commands() -> dict[str, str]:
    """Returns every command with the first line of its help."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    names = sorted(set(modules) - {"worker"})
    return {name: (inspect.getdoc(find_command(name)) or "").partition("\n")[0] for name in names}
