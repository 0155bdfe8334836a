"""From a command line to a function of `api`: its parameters are the command's flags.

Exit code 0 only on success, 2 for a user's mistake, 1 for a failure of the work itself. Imports:
absl and the standard library, so that `--help` answers at once.
"""

import inspect
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from lepton_jax.errors import UserError, WorkError, did_you_mean


def main(commands: Mapping[str, str], argv: list[str] | None = None) -> None:
    """Runs one command and exits. `commands`: the table of names and their one-line summaries."""
    argv = sys.argv[1:] if argv is None else argv
    # A config may name modules of the user's own, which lie where the command is given.
    sys.path.insert(0, os.getcwd())
    try:
        code, _ = run(commands, argv)
    except BrokenPipeError:  # e.g. `| head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.stdout.flush()
    sys.exit(code)


def run(commands: Mapping[str, str], argv: Sequence[str]) -> tuple[int, Any]:
    """Runs one command: its exit code, and the record of what it did, if it came that far."""
    try:
        return _run(commands, argv)
    except UserError as e:
        print(e, file=sys.stderr)
        return 2, None
    except WorkError as e:
        print(e, file=sys.stderr)
        return 1, None


def known_commands() -> dict[str, str]:
    """The functions of `api`, each with its first line: what can be run by name."""
    from lepton_jax import api

    return {name: inspect.getdoc(getattr(api, name)) or "" for name in api.__all__}


def _run(commands: Mapping[str, str], argv: Sequence[str]) -> tuple[int, Any]:
    if not argv or argv[0] in ("-h", "--help", "-help", "help"):
        print(_overview(commands))
        return 0, None
    name, *rest = argv
    function = _function(commands, name)
    if any(a in ("-h", "--help", "-help") for a in _own(function, rest)[0]):
        print(_help(name, function))
        return 0, None
    arguments, as_json = parse(commands, argv)
    result = function(**arguments)
    if as_json:
        print(json.dumps(result.as_json(), indent=2))
    else:
        for piece in getattr(result, "stream", tuple)():  # what is shown while it is made
            print(piece, end="", flush=True)
        print(result)
    return 0 if getattr(result, "ok", True) else 1, result


def _function(commands: Mapping[str, str], name: str) -> Callable[..., Any]:
    if name not in commands:
        raise UserError(
            f"there is no command {name!r}{did_you_mean(name, commands)}\n{_overview(commands)}"
        )
    from lepton_jax import api

    function: Callable[..., Any] = getattr(api, name)
    return function


def _own(function: Callable[..., Any], argv: list[str]) -> tuple[list[str], list[str]]:
    """A command's own flags, and the command line behind them, where it takes one."""
    if "command" not in inspect.signature(function).parameters:
        return argv, []
    at = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    return argv[:at], argv[at:]


def _overview(commands: Mapping[str, str]) -> str:
    width = max(map(len, commands)) + 2
    lines = ["usage: python launch.py COMMAND [--flags]", ""]
    lines += [f"  {name:<{width}}{summary}" for name, summary in commands.items()]
    return "\n".join([*lines, "", "python launch.py COMMAND --help tells more, with examples."])


def _help(name: str, function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    takes = [f"--{p.name}=..." for p in parameters if p.default is p.empty]
    takes = [t for t in takes if t != "--command=..."] + ["[--flags]"]
    takes += [f"[{p.name.upper()} ...]" for p in parameters if p.name == "inputs"]
    takes += ["COMMAND [--flags]" for p in parameters if p.name == "command"]
    return f"usage: python launch.py {name} {' '.join(takes)}\n\n{inspect.getdoc(function) or ''}"


def parse(commands: Mapping[str, str], line: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """The arguments of a command line's function, and whether it asks for JSON.

    `--config.path.to.key=value` are collected as `overrides`; a `command` is the rest of the line.

    Raises:
      UserError: for what is no command, no flag of it, or lacks something.
    """
    name, *words = line
    function = _function(commands, name)
    argv, command = _own(function, words)
    parameters = inspect.signature(function).parameters
    values = flags.FlagValues()
    apart = ("overrides", "inputs", "command")
    for p in parameters.values():
        if p.name in apart:
            continue
        default = None if p.default is p.empty else p.default
        if p.annotation is bool:
            flags.DEFINE_boolean(p.name, default, "", flag_values=values)
        elif p.annotation is int:
            flags.DEFINE_integer(p.name, default, "", flag_values=values)
        elif p.annotation is float:
            flags.DEFINE_float(p.name, default, "", flag_values=values)
        elif p.annotation == tuple[str, ...]:
            flags.DEFINE_list(p.name, default, "", flag_values=values)
        elif p.annotation == list[str]:
            flags.DEFINE_multi_string(p.name, default, "", flag_values=values)
        else:
            flags.DEFINE_string(p.name, default, "", flag_values=values)
    flags.DEFINE_boolean("json", False, "", flag_values=values)
    overrides, rest = _overrides(argv)
    if overrides and "overrides" not in parameters:
        raise UserError(f"{name} takes no --config overrides: {', '.join(overrides)}")
    try:
        positional = values([name, *rest])[1:]
    except flags.Error as e:
        raise UserError(f"{name}: {_flag_error(e, values)}\n\nTry: {name} --help") from None
    if positional and "inputs" not in parameters:
        raise UserError(f"{name}: unexpected argument {positional[0]!r}\n\nTry: {name} --help")
    arguments = {p: getattr(values, p) for p in parameters if p not in apart}
    for p in parameters.values():
        if p.name in arguments and p.default is p.empty and arguments[p.name] is None:
            raise UserError(f"{name}: --{p.name} is missing\n\nTry: {name} --help")
    if "overrides" in parameters:
        arguments["overrides"] = overrides
    if "inputs" in parameters:
        arguments["inputs"] = tuple(positional)
    if "command" in parameters:
        arguments["command"] = command
    return arguments, values.json


def _flag_error(error: flags.Error, values: flags.FlagValues) -> str:
    match = re.match(r"Unknown command line flag '(.*?)'", str(error))
    if not match:
        return str(error)
    return f"no flag --{match[1]}{did_you_mean(match[1], list(values))}"


def _overrides(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    overrides, rest = {}, []
    words = iter(argv)
    for word in words:
        match = re.match(r"--?config\.([\w.]+)(?:=(.*))?$", word, re.S)
        if not match:
            rest.append(word)
            continue
        path, value = match[1], match[2]
        overrides[path] = next(words, "") if value is None else value
    return overrides, rest


if __name__ == "__main__":
    main(known_commands())
