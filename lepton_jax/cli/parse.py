"""Parses a command line: a command's parameters are its flags.

Imports absl and the standard library, so that `--help` and mistakes are answered at once.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from lepton_jax.cli.table import Command, Commands
from lepton_jax.errors import UserError, did_you_mean

NOT_FLAGS = ("overrides", "inputs", "command")
"""Parameters that are no flags: `--config.path.to.key=value`, what stands without a flag, and a
command line behind the flags."""


def parse_line(commands: Commands, line: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Returns the arguments for the command of a command line, and whether it asks for JSON.

    `--config.path.to.key=value` become `overrides`, words without a flag `inputs`, and the command
    line behind the flags `command`, where the command has such a parameter.

    Raises:
      UserError: for a command or a flag that is none, or when a flag is missing.
    """
    name, *words = line
    command = commands[name]
    own_words, command_line = split_line(command, words)
    parameters = inspect.signature(command).parameters
    values = _define_flags(parameters)
    overrides, rest = _take_overrides(own_words)
    if overrides and "overrides" not in parameters:
        raise UserError(f"{name} takes no --config overrides: {', '.join(overrides)}")
    try:
        inputs = values([name, *rest])[1:]
    except flags.Error as e:
        raise UserError(f"{name}: {_flag_error(e, values)}\n\nTry: {name} --help") from None
    if inputs and "inputs" not in parameters:
        raise UserError(f"{name}: unexpected argument {inputs[0]!r}\n\nTry: {name} --help")
    arguments = {p: getattr(values, p) for p in parameters if p not in NOT_FLAGS}
    for p in parameters.values():
        if p.name in arguments and p.default is p.empty and arguments[p.name] is None:
            raise UserError(f"{name}: --{p.name} is missing\n\nTry: {name} --help")
    others = {"overrides": overrides, "inputs": tuple(inputs), "command": command_line}
    return arguments | {k: v for k, v in others.items() if k in parameters}, values.json


def split_line(command: Command, words: list[str]) -> tuple[list[str], list[str]]:
    """Splits the words behind a command's name: its own, and a command line that it takes."""
    if "command" not in inspect.signature(command).parameters:
        return words, []
    end = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    return words[:end], words[end:]


def _define_flags(parameters: Mapping[str, inspect.Parameter]) -> flags.FlagValues:
    """Defines a flag for each parameter, by its annotation and its default, and `--json`."""
    values = flags.FlagValues()
    for p in parameters.values():
        if p.name in NOT_FLAGS:
            continue
        default = None if p.default is p.empty else p.default
        if p.annotation is bool:
            flags.DEFINE_boolean(p.name, default, "", flag_values=values)
        elif p.annotation is int:
            flags.DEFINE_integer(p.name, default, "", flag_values=values)
        elif p.annotation in (float, float | None):
            flags.DEFINE_float(p.name, default, "", flag_values=values)
        elif p.annotation == tuple[str, ...]:  # --flag=a,b
            flags.DEFINE_list(p.name, default, "", flag_values=values)
        elif p.annotation == Sequence[str]:  # --flag=a --flag=b
            flags.DEFINE_multi_string(p.name, list(default or ()), "", flag_values=values)
        else:
            flags.DEFINE_string(p.name, default, "", flag_values=values)
    flags.DEFINE_boolean("json", False, "", flag_values=values)
    return values


def _flag_error(error: flags.Error, values: flags.FlagValues) -> str:
    if unknown := re.match(r"Unknown command line flag '(.*?)'", str(error)):
        return f"no flag --{unknown[1]}{did_you_mean(unknown[1], list(values))}"
    no_number = r"flag (--.*): (could not convert string to float|invalid literal for int)"
    if match := re.match(no_number, str(error), re.S):
        return f"{match[1]}: expected a {'whole ' if 'int' in match[2] else ''}number"
    return str(error)


def _take_overrides(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Splits words into `--config.path=value`, as a dict, and the rest."""
    overrides, rest = {}, []
    remaining = iter(words)
    for word in remaining:
        match = re.match(r"--?config\.([\w.]+)(?:=(.*))?$", word, re.S)
        if not match:
            rest.append(word)
            continue
        path, value = match[1], match[2]
        overrides[path] = next(remaining, "") if value is None else value
    return overrides, rest
