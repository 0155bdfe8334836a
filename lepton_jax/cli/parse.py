"""Parses a command line: a command's parameters are its flags.

Imports absl and the standard library, so that `--help` and mistakes are answered at once.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from lepton_jax.cli.arguments import read_path
from lepton_jax.cli.mistakes import explain_flag, explain_missing, explain_words
from lepton_jax.cli.table import Command, Commands
from lepton_jax.config.schema import PATH, split_annotation
from lepton_jax.errors import UserError

NOT_FLAGS = ("overrides", "inputs", "command")
"""Parameters that are no flags: `--config.path.to.key=value`, what stands without a flag, and a
command line behind the flags."""


def parse_line(commands: Commands, line: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Returns the arguments for the command of a command line, and whether it asks for JSON.

    `--config.path.to.key=value` become `overrides`, words without a flag `inputs`, and the command
    line behind the flags `command`, where the command has such a parameter.

    Raises:
      UserError: for a command or a flag that is none, or when a flag is missing; with the line to
        try.
    """
    command = commands.find_of(line)
    try:
        return _parse_words(line[0], command, line[1:])
    except UserError as e:
        if e.try_line:
            e.try_line = _repair_rest(commands, e.try_line)
        elif not e.instead:
            e.try_line = [line[0], "--help"]
        raise


def _repair_rest(commands: Commands, line: Sequence[str]) -> Sequence[str]:
    """Returns a line that is proposed, with its other words of other tools put right as well."""
    seen = [line]
    while True:
        try:
            _parse_words(line[0], commands.find_of(line), line[1:])
        except UserError as e:
            if e.try_line and [*e.try_line] not in seen:
                line = [*e.try_line]
                seen.append(line)
                continue
        return line


def _parse_words(name: str, command: Command, words: Sequence[str]) -> tuple[dict[str, Any], bool]:
    own_words, command_line = split_line(command, words)
    parameters = inspect.signature(command).parameters
    values = _define_flags(parameters)
    try:
        own_words = values.read_flags_from_files([name, *own_words])[1:]  # --flagfile
    except flags.Error as e:
        raise UserError(f"{name}: {e}") from None
    overrides, rest = _take_overrides(name, own_words)
    names = [p for p in parameters if p not in NOT_FLAGS]
    if overrides and "overrides" not in parameters:
        given = ", ".join(f"--config.{path}" for path in overrides)
        raise UserError(
            f"{name} takes no --config overrides: a record has its config; got {given}",
            try_line=[name, *rest],
        )
    try:
        inputs = values([name, *rest])[1:]
    except (flags.Error, ValueError) as e:  # the latter for --noNAME=VALUE
        raise explain_flag(name, str(e), words, names, parameters) from None
    if inputs and "inputs" not in parameters:
        open_ = [p for p in names if parameters[p].default is inspect.Parameter.empty]
        missing = [p for p in open_ if getattr(values, p) is None]
        missing += [p for p in ("workdir",) if p in names and not values[p].present]
        raise explain_words(name, inputs, words, names, missing, "overrides" in parameters)
    arguments = {p: getattr(values, p) for p in names}
    for p in parameters.values():
        if p.name not in arguments:
            continue
        if p.default is p.empty and arguments[p.name] is None:
            raise explain_missing(name, p.name, words, arguments.get("workdir"))
        if values[p.name].present > 1 and p.annotation != Sequence[str]:
            raise UserError(
                f"{name}: --{p.name} is given twice; expected it once",
                try_line=[name, *_keep_last(words, f"--{p.name}")],
            )
        if values[p.name].present and PATH in split_annotation(p.annotation).marks:
            try:  # a flag that is given is no default, so that '' is a mistake: --out=$UNSET
                read_path(arguments[p.name])
            except ValueError as e:
                raise UserError(f"{name}: --{p.name}: {e}") from None
    others = {"overrides": overrides, "inputs": tuple(inputs), "command": command_line}
    return arguments | {k: v for k, v in others.items() if k in parameters}, values.json


def split_line(command: Command, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits the words behind a command's name: its own, and a command line that it takes."""
    if "command" not in inspect.signature(command).parameters:
        return [*words], []
    end = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    return [*words[:end]], [*words[end:]]


def _define_flags(parameters: Mapping[str, inspect.Parameter]) -> flags.FlagValues:
    """Defines a flag for each parameter, by its annotation and its default, and `--json`."""
    values = flags.FlagValues()
    for p in parameters.values():
        if p.name in NOT_FLAGS:
            continue
        default = None if p.default is p.empty else p.default
        annotation = split_annotation(p.annotation).annotation
        if annotation is bool:
            flags.DEFINE_boolean(p.name, default, "", flag_values=values)
        elif annotation in (int, int | None):
            flags.DEFINE_integer(p.name, default, "", flag_values=values)
        elif annotation in (float, float | None):
            flags.DEFINE_float(p.name, default, "", flag_values=values)
        elif annotation == tuple[str, ...]:  # --flag=a,b
            flags.DEFINE_list(p.name, default, "", flag_values=values)
        elif annotation == Sequence[str]:  # --flag=a --flag=b
            flags.DEFINE_multi_string(p.name, list(default or ()), "", flag_values=values)
        else:
            flags.DEFINE_string(p.name, default, "", flag_values=values)
        if p.name.endswith("_"):  # a word of Python's own: `try_` is --try
            flags.DEFINE_alias(p.name.rstrip("_"), p.name, flag_values=values)
    flags.DEFINE_boolean("json", False, "", flag_values=values)
    return values


def _keep_last(words: Sequence[str], flag: str) -> list[str]:
    """Returns words without a flag, `--flag=VALUE` or `--flag VALUE`, but for the last one."""
    kept: list[str] = []
    last = ""
    remaining = iter(words)
    for word in remaining:
        if word == flag:
            last = f"{flag}={next(remaining, '')}"
        elif word.startswith(f"{flag}="):
            last = word
        else:
            kept.append(word)
    return [*kept, last]


def _take_overrides(name: str, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Splits the words of the command `name` into `--config.path=value`, a dict, and the rest."""
    overrides: dict[str, str] = {}
    rest: list[str] = []
    remaining: Iterator[str] = iter(words)
    for word in remaining:
        match = re.match(r"--?config\.([\w.]+)(?:=(.*))?$", word, re.S)
        if not match:
            rest.append(word)
            continue
        path, value = match[1], match[2]
        if value is None:  # the next word, as in `--config.seed 3`
            value = next(remaining, None)
            if value is None or value.startswith("--"):
                raise UserError(f"{word} has no value; expected {word}=VALUE, such as {word}=true")
        if path in overrides:
            raise UserError(
                f"--config.{path} is given twice: {overrides[path]!r} and {value!r}; "
                "expected it once",
                try_line=[name, *_keep_last(words, f"--config.{path}")],
            )
        overrides[path] = value
    return overrides, rest
