"""Says what was meant by a flag or a word that a command does not take, with the line to try.

Knows the flags of other tools and the ways in which they set a config's keys: `--lr=0.1`,
`--optimizer.lr=0.1`, `--set seed=3`, `seed=3`.
"""

import dataclasses
import functools
import inspect
import os
import re
import shlex
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lepton_jax.config.schema import BYTES, SECONDS, signature_keys, split_annotation
from lepton_jax.errors import UserError, list_names
from lepton_jax.nearest import NAMES, find_meant, find_nearest, spell_duration

_SETS = ("set", "override", "overrides", "cfg_options", "o")
"""Flags of other tools behind which `key=value` stands."""

_NO_NUMBER = r"flag (--[^=\s]+)=(.*): (could not convert string to float|invalid literal for int)"
"""How absl refuses a value that is no number."""

_UNITS = {
    SECONDS: {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600},
    BYTES: {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30},
}
"""By the unit of a flag, those that people write behind a number, and how many of it they are."""

_ANSWERS = {
    "resume": "the same command goes on where its run stopped",
    "auto_resume": "the same command goes on where its run stopped",
    "verbose": "progress is on stderr already, and --json gives all there is to know",
    "v": "progress is on stderr already, and --json gives all there is to know",
    "quiet": "what is said on stderr can be left out with 2>/dev/null",
    "gpus": "--config.strategy.name=mesh takes all devices that JAX finds, jit the first one",
    "devices": "--config.strategy.name=mesh takes all devices that JAX finds, jit the first one",
    "gpu": "a GPU that JAX finds is taken; the variable JAX_PLATFORMS names others",
    "device": "a GPU that JAX finds is taken; the variable JAX_PLATFORMS names others",
    "cpu": "set the variable JAX_PLATFORMS=cpu",
}
"""By a flag of other tools, what to do here."""


def explain_flag(
    command: str,
    said: str,
    words: Sequence[str],
    names: Sequence[str],
    parameters: Mapping[str, inspect.Parameter],
) -> UserError:
    """Returns the error for a flag that was refused.

    Args:
      said: why, in absl's words.
      words: what stood behind the command.
      names: the command's flags.
      parameters: the command's, by name; with `overrides` it takes `--config.key=value`.
    """
    unknown, overrides = (
        re.match(r"Unknown command line flag '(.*?)'", said),
        "overrides" in parameters,
    )
    if number := re.match(_NO_NUMBER, said, re.S):
        flag, value, why = number.groups()
        return _explain_number(command, flag, value, why, parameters)
    if not unknown:
        return UserError(f"{command}: {_translate(said)}", instead=_meant_value(said))
    flag = unknown[1]
    problem = f"{command}: no flag --{flag}"
    at = next((i for i, word in enumerate(words) if _flag_of(word) == flag), None)
    if at is None:  # in a --flagfile
        return UserError(f"{problem}; there are: {_list(names)}")
    _, sign, value = words[at].partition("=")
    following = words[at + 1] if at + 1 < len(words) and words[at + 1][:1] != "-" else ""
    if flag in ("multirun", "m") and flag not in names:
        rest = [f"--vary={w}" if re.match(r"[\w.]+=", w) else w for w in words if w != words[at]]
        return UserError(f"{problem} (did you mean ablate?)", try_line=["ablate", *rest])
    if flag in _ANSWERS and flag not in names:
        rest = [command, *words[:at], *words[at + 1 :]]
        return UserError(f"{problem}: {_ANSWERS[flag]}", try_line=rest)
    if flag == "workdir" and "bundle" in names and flag not in names:
        model = ", or a model of the registry, --model=NAME@ALIAS" * ("model" in names)
        takes = f"{command} takes a bundle, --bundle=DIR" + model * (command != "register")
        given = words[at : at + (1 if sign else 2)]
        line = _line_of_bundle(command, value or following, [w for w in words if w not in given])
        return UserError(f"{takes}; a run, --workdir, is exported first", try_line=line)
    if overrides and flag.replace("-", "_") in _SETS:
        key, equals, value = (value or following).partition("=")
        meant = f"--config.{_repair_path(key)}={value}" if equals else "--config.KEY=VALUE"
        return _meant(problem, [command, *words], at, meant, 1 if sign else 2)
    name = _find_meant(flag, [*names, "json", "help"], overrides)
    if name is None:
        return UserError(f"{problem}; there are: {_list(names)}")
    if name.startswith("config.") and not sign:
        meant = _spell(name, flag, following) if following else f"--{name}=VALUE"
        return _meant(problem, [command, *words], at, meant, 2)
    meant = _spell(name, flag, value) if sign else f"--{name}"
    return _meant(problem, [command, *words], at, meant)


def _line_of_bundle(command: str, workdir: str, words: Sequence[str]) -> list[str]:
    """Returns the line with the bundle of a run; where it has none, the line that exports it.

    `words`: the others of the line.
    """
    bundle = os.path.join(workdir or "WORKDIR", "bundle")
    if os.path.isfile(os.path.join(os.path.expanduser(bundle), "manifest.json")):
        return [command, f"--bundle={bundle}", *words]
    return ["export", f"--workdir={workdir or 'WORKDIR'}", f"--out={bundle}"]


def explain_missing(
    command: str, flag: str, words: Sequence[str], workdir: str | None
) -> UserError:
    """Returns the error for a flag that must be given and was not.

    The run of a workdir has its config there, so that a command to go on with it can be said whole.
    """
    problem = f"{command}: --{flag} is missing"
    kept = os.path.join(os.path.expanduser(workdir or ""), "config.json")
    if flag == "config" and workdir and os.path.isfile(kept):
        line = [command, f"--config={os.path.join(workdir, 'config.json')}", *words]
        return UserError(f"{problem}; the run in {workdir} has its own", try_line=line)
    return UserError(f"{problem}; give --{flag}=VALUE")


def explain_words(
    command: str,
    inputs: Sequence[str],
    words: Sequence[str],
    names: Sequence[str],
    missing: Sequence[str],
    overrides: bool,
) -> UserError:
    """Returns the error for words without a flag where a command takes none; see `explain_flag`.

    `missing`: the flags that were not given and must be.
    """
    problem = f"{command}: unexpected argument {inputs[0]!r}"
    open_, meant = [*missing], {}
    if "workdir" in names and not any(word.startswith("--workdir") for word in words):
        open_ = list(dict.fromkeys([*open_, "workdir"]))
    for word in inputs:
        name, sign, value = word.lstrip("+").partition("=")  # Hydra's +key=value
        files = [n for n in ("config", "experiment") if n in (open_ or names)]
        is_file = word.partition(":")[0].endswith(".py")
        if sign and re.fullmatch(r"[\w.\-]+", name):
            key = _find_meant(name.removeprefix("config."), names, overrides)
            meant[word] = _spell(key, name, value) if key else ""
        elif is_file and files:
            meant[word] = f"--{files[0]}={word}"
        elif "bundle" in names and os.path.isfile(os.path.join(word, "manifest.json")):
            meant[word] = f"--bundle={word}"
        elif open_ and not is_file:
            meant[word] = f"--{open_[0]}={word}"
        else:
            meant[word] = ""
        open_ = [n for n in open_ if not meant[word].startswith(f"--{n}=")]
    if not all(meant.values()):
        return UserError(f"{problem}; it takes flags: {_list(names)}")
    line = [command, *(meant.get(word, word) for word in words)]
    shown = " ".join(map(_quote_value, meant.values()))
    return UserError(f"{problem} (did you mean {shown}?)", try_line=line)


def _find_meant(flag: str, names: Sequence[str], overrides: bool) -> str | None:
    """Returns the flag, or `config.KEY`, that a flag of another name probably means."""
    path = flag.removeprefix("config.")
    if "." in path:
        if not overrides:
            return None
        if find_nearest(path.partition(".")[0], _sections()):
            return f"config.{_repair_path(path)}"
        flag = path.rpartition(".")[2]  # `trainer.max_epochs`, a section of another tool
    keys = _config_keys() if overrides else ()
    for find in (find_meant, find_nearest):
        if near := find(flag, names):
            return near
        if key := find(flag, keys):
            return f"config.{key}"
    return None


def _repair_path(path: str) -> str:
    """Returns a path of config keys whose misspelt parts are put right, as far as they are known.

    A component's own keys are known only when it is imported.
    """
    path = path.replace("-", "_")
    head, dot, rest = path.partition(".")
    top = [key for key in _config_keys() if "." not in key]
    head = find_nearest(head, _sections() if dot else top) or head
    below = [key.partition(".")[2] for key in _config_keys() if key.startswith(f"{head}.")]
    return f"{head}.{find_nearest(rest, below) or rest}" if dot else head


def _sections() -> list[str]:
    """Lists the keys of a config that have keys below them."""
    return list(dict.fromkeys(k.partition(".")[0] for k in _config_keys() if "." in k))


@functools.cache
def _config_keys() -> tuple[str, ...]:
    """Returns the paths of sections and keys of every config, and of what most models have."""
    from lepton_jax.config.components import Component
    from lepton_jax.config.config import Config

    def below(section: Any, path: str) -> Iterator[str]:
        for name, key in signature_keys(section).items():
            yield f"{path}{name}"
            for kind in (key.annotation, *typing.get_args(key.annotation)):  # `Section | None`
                if kind is Component:
                    yield f"{path}{name}.name"
                elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
                    yield from below(kind, f"{path}{name}.")

    keys = [*below(Config, "")]
    return (*keys, *(n for n in NAMES if "." in n and n.partition(".")[0] in keys))


def _spell(name: str, flag: str, value: str) -> str:
    """Spells `--NAME=VALUE`; a bare number of epochs or steps becomes a duration, and the name of
    a component that of its section."""
    if f"{name.removeprefix('config.')}.name" in _config_keys() and re.fullmatch(r"[\w:.]+", value):
        return f"--{name}.name={value}"
    if name == "config.train_for" and re.fullmatch(r"[\d_.]+", value):
        value = spell_duration(flag, value)
    return f"--{name}={value}"


def _meant(problem: str, line: Sequence[str], at: int, meant: str, taken: int = 1) -> UserError:
    """Returns the error with what was meant by `taken` words from word `at` of a command, and the
    line in which it is put right."""
    put_right = [*line[: at + 1], meant, *line[at + 1 + taken :]]
    return UserError(
        f"{problem} (did you mean {_quote_value(meant)}?)",
        try_line=None if meant.endswith("VALUE") else put_right,
    )


def _quote_value(word: str) -> str:
    name, sign, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if sign else word


def _meant_value(said: str) -> tuple[str, str] | None:
    """Returns a flag, and the flag with the value that was probably meant by a refused one."""
    match = re.match(r"flag (--[^=\s]+)=(.*?): ", said, re.S)
    if match is None:
        return None
    flag, value = match.groups()
    if "Non-boolean" in said and (near := find_nearest(value, ("true", "false"))):
        return flag, f"{flag}={near}"
    return None


def _explain_number(
    command: str, flag: str, value: str, why: str, parameters: Mapping[str, inspect.Parameter]
) -> UserError:
    """Returns the error for a value that is no number, or one with its unit: `30s`, `32MB`."""
    parameter = parameters.get(flag.removeprefix("--"))
    default = parameter.default if parameter else None
    marks = split_annotation(parameter.annotation).marks if parameter else ()
    unit = next((mark for mark in marks if mark in _UNITS), "")
    whole = "int" in why
    meant = ""
    if unit and (match := re.fullmatch(r"([\d.]+)\s*([A-Za-z]+)", value)):
        times = _UNITS[unit].get(match[2].lower())
        amount = float(match[1]) * times if times and match[1].count(".") < 2 else None
        if amount is not None:
            meant = f"{flag}={round(amount) if whole else f'{amount:g}'}"
    elif whole and re.fullmatch(r"\d+\.0*|\d+e\d+", value):
        meant = f"{flag}={int(float(value))}"
    kind = ("whole number" if whole else "number") + (f" of {unit}" if unit else "")
    usual = default if isinstance(default, int) else f"{default or 4:g}"
    ending = f" (did you mean {meant}?)" if meant else f"; such as {flag}={usual}"
    return UserError(
        f"{command}: {flag}={value}: expected a {kind}{ending}",
        instead=(flag, meant) if meant else None,
    )


def _translate(said: str) -> str:
    """Returns absl's sentence on a flag in our words."""
    if match := re.match(r"flag (--\S+?)=(.*): \(?'Non-boolean argument", said, re.S):
        return f"{match[1]}={match[2]}; expected {match[1]} alone, or {match[1]}=false"
    if match := re.match(r"Missing value for flag (--\S+)", said):
        return f"{match[1]} has no value; expected {match[1]}=VALUE"
    if match := re.match(r"(?:flag )?--no(\w+)=.* does not take an argument", said):
        return f"{said.removeprefix('flag ')}; write --no{match[1]} alone"
    return said


def _flag_of(word: str) -> str:
    return word.lstrip("-").partition("=")[0] if word.startswith("-") else ""


def _list(names: Sequence[str]) -> str:
    return list_names([f"--{name}" for name in names], most=14)
