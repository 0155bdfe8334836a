"""From a command line to a function of `api.py`: its parameters are the command's flags.

Exit code 0 only on success, 2 for a user's mistake, 1 for a failure of the work itself. Imports:
absl and the standard library, so that `--help` answers at once.
"""

import inspect
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from lepton_jax.errors import UserError, WorkError, did_you_mean


def main(commands: Mapping[str, str], argv: list[str] | None = None) -> None:
    """Runs one command and exits. `commands`: the table of names and their one-line summaries."""
    argv = sys.argv[1:] if argv is None else argv
    # A config may name modules of the user's own, which lie where the command is given.
    sys.path.insert(0, os.getcwd())
    try:
        code = _run(commands, argv)
    except UserError as e:
        code = _complain(e, 2)
    except WorkError as e:
        code = _complain(e, 1)
    except BrokenPipeError:  # e.g. `| head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.stdout.flush()
    sys.exit(code)


def _complain(error: Exception, code: int) -> int:
    print(error, file=sys.stderr)
    return code


def _run(commands: Mapping[str, str], argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "-help", "help"):
        print(_overview(commands))
        return 0
    name, *rest = argv
    if name not in commands:
        raise UserError(
            f"there is no command {name!r}{did_you_mean(name, commands)}\n{_overview(commands)}"
        )
    from lepton_jax import api

    function = getattr(api, name)
    if any(a in ("-h", "--help", "-help") for a in rest):
        print(_help(name, function))
        return 0
    arguments, as_json = _parse(name, function, rest)
    result = function(**arguments)
    if as_json:
        print(json.dumps(result.as_json(), indent=2))
    else:
        print(result)
    return 0 if getattr(result, "ok", True) else 1


def _overview(commands: Mapping[str, str]) -> str:
    width = max(map(len, commands)) + 2
    lines = ["usage: python launch.py COMMAND [--flags]", ""]
    lines += [f"  {name:<{width}}{summary}" for name, summary in commands.items()]
    return "\n".join([*lines, "", "python launch.py COMMAND --help tells more, with examples."])


def _help(name: str, function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    takes = [f"--{p.name}=..." for p in parameters if p.default is p.empty]
    takes += ["[--flags]"] + [f"[{p.name.upper()} ...]" for p in parameters if p.name == "inputs"]
    return f"usage: python launch.py {name} {' '.join(takes)}\n\n{inspect.getdoc(function) or ''}"


def _parse(name: str, function: Callable[..., Any], argv: list[str]) -> tuple[dict[str, Any], bool]:
    """The function's arguments; `--config.path.to.key=value` are collected as `overrides`."""
    parameters = inspect.signature(function).parameters
    values = flags.FlagValues()
    for p in parameters.values():
        if p.name in ("overrides", "inputs"):
            continue
        default = None if p.default is p.empty else p.default
        if p.annotation is bool:
            flags.DEFINE_boolean(p.name, default, "", flag_values=values)
        elif p.annotation is int:
            flags.DEFINE_integer(p.name, default, "", flag_values=values)
        elif p.annotation == tuple[str, ...]:
            flags.DEFINE_list(p.name, default, "", flag_values=values)
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
    arguments = {p: getattr(values, p) for p in parameters if p not in ("overrides", "inputs")}
    for p in parameters.values():
        if p.name in arguments and p.default is p.empty and arguments[p.name] is None:
            raise UserError(f"{name}: --{p.name} is missing\n\nTry: {name} --help")
    if "overrides" in parameters:
        arguments["overrides"] = overrides
    if "inputs" in parameters:
        arguments["inputs"] = tuple(positional)
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
