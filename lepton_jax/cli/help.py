"""Writes what `--help` shows of one command: its usage, and its docstring."""

import inspect

from lepton_jax.cli.table import Command
from lepton_jax.console import format_command, format_program

HELP_WORDS = ("-h", "--help", "-help")


def format_help(name: str, command: Command) -> str:
    """Returns the help of a command: how it is called, then its docstring."""
    parameters = inspect.signature(command).parameters.values()
    usage = [f"--{p.name}=..." for p in parameters if p.default is p.empty and p.name != "command"]
    usage.append("[--flags]")
    usage += [f"[{p.name.upper()} ...]" for p in parameters if p.name == "inputs"]
    usage += ["COMMAND [--flags]" for p in parameters if p.name == "command"]
    told = (inspect.getdoc(command) or "").replace("python launch.py", format_program())
    return f"usage: {format_command(' '.join([name, *usage]))}\n\n{told}"
