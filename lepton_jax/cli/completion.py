"""Completes an unfinished command line: commands, flags, recipes, and the keys of a config.

Imports nothing heavy and runs no file of a user: it is called at each press of the Tab key.
"""

import inspect
import os
import shlex
import typing
from collections.abc import Iterable, Iterator, Sequence

from lepton_jax.cli.parse import NOT_FLAGS, split_line
from lepton_jax.cli.table import Commands
from lepton_jax.config.recipes import Folder, list_recipes
from lepton_jax.config.schema import split_annotation
from lepton_jax.errors import UserError

FOLDERS: dict[str, Folder] = {"--config": "configs", "--experiment": "experiments"}
"""The flags that take a recipe or an experiment."""

SCRIPTS = {
    "bash": """\
_lepton() {
    local IFS=$'\\n' word="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(lepton completion --line="$word" 2>/dev/null))
    word="${word##*[[:space:]]}"
    COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[=:]}"}"}")  # bash replaces what is behind = and :
}
complete -o default -o nospace -F _lepton lepton
""",
    "zsh": """\
_lepton() {
    local -a found=(${(f)"$(lepton completion --line="$LBUFFER" 2>/dev/null)"})
    if (( $#found )); then compadd -S '' -- $found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _lepton lepton
""",
    "fish": """\
complete -c lepton -a '(lepton completion --line=(commandline -cp | string collect) 2>/dev/null)'
""",
}
"""What a shell reads once, by its name."""


def complete_line(commands: Commands, line: str) -> list[str]:
    """Lists what the last word of an unfinished command line may be: `lepton train --con`.

    A list of none says that the word is a file's name, or anything. A word is whole where it ends
    with a blank, and goes on where it does not.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # a quote is still open
        words = line.split()
    if line.endswith((" ", "\t")):
        words.append("")
    last = words[-1] if len(words) > 1 else ""
    return [word for word in _complete(commands, words[1:]) if word.rstrip().startswith(last)]


def _complete(commands: Commands, words: Sequence[str]) -> Iterable[str]:
    *before, word = words or [""]
    if not before:
        return [f"{name} " for name in (*commands.summaries, "--help", "--version")]
    name, *given = before
    if name not in commands.summaries:
        return []
    command = commands.find(name)
    parameters = inspect.signature(command).parameters
    if inner := split_line(command, [*given, word])[1]:  # of `submit`
        return _complete(commands, inner)
    flag, is_given, _ = word.partition("=")
    if is_given and flag in FOLDERS:
        return _complete_recipe(flag, FOLDERS[flag])
    if is_given:
        parameter = parameters.get(flag.lstrip("-"))
        choices = typing.get_args(parameter and split_annotation(parameter.annotation).annotation)
        return [f"{flag}={choice} " for choice in choices if isinstance(choice, str)]
    if word.startswith("--config.") and "overrides" in parameters:
        return _complete_key(word, given)
    if word and not word.startswith("-"):
        return []
    return [f for f in _list_flags(parameters.values()) if f.rstrip(" =") not in _flags_of(given)]


def _list_flags(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    """Yields flags: `--workdir=`, `--dry_run `; those that must be given first."""
    for p in sorted(parameters, key=lambda p: p.default is not p.empty):
        if p.name not in NOT_FLAGS:
            is_switch = split_annotation(p.annotation).annotation is bool
            name = p.name.rstrip("_")
            yield f"--{name} " if is_switch else f"--{name}="
        elif p.name == "overrides":
            yield "--config."
    yield from ("--json ", "--help ")


def _flags_of(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in words}


def _complete_recipe(flag: str, folder: Folder) -> Iterator[str]:
    """Yields the names of lepton_jax's and of the current folder's own."""
    own = os.listdir(folder) if os.path.isdir(folder) else []
    names = {file.removesuffix(".py") for file in own if file.endswith(".py")}
    yield from (f"{flag}={name}" for name in sorted(names | list_recipes(folder).keys()))


def _complete_key(word: str, given: Sequence[str]) -> Iterator[str]:
    """Yields the next part of a key's path: `--config.data.`, `--config.seed=`."""
    head = word[: word.rindex(".") + 1]
    paths = [f"--{path}" for path in _list_keys(given)]
    parts = [p.removeprefix(head).partition(".") for p in paths if p.startswith(head)]
    sections = {part for part, dot, _ in parts if dot}
    for part in dict.fromkeys(part for part, _, _ in parts):
        yield f"{head}{part}{'.' if part in sections else '='}"


def _list_keys(given: Sequence[str]) -> Iterator[str]:
    """Yields the paths of the config's keys; those of a component where the line says which."""
    from lepton_jax.reference import components, sections

    for section in sections.list_sections():
        if "NAME" not in section.title:  # a name that the user chooses
            yield from (f"{section.title}.{key.name}" for key in section.keys)
    chosen = _named_components(given)
    for kind, path in components.SECTIONS.items():
        if "NAME" not in path:
            yield f"{path}.name"
            if kind in chosen:
                found = components.describe_component(kind, chosen[kind])
                yield from (f"{path}.{key.name}" for key in found.keys)


def _named_components(given: Sequence[str]) -> dict[str, str]:
    """Returns the components that a line names itself, or by its recipe: `{'model': 'cnn'}`."""
    from lepton_jax.reference import components, recipes

    values = dict(word.partition("=")[::2] for word in given)
    chosen = {}
    try:
        recipe = recipes.read_named("recipe", values.get("--config", "").partition(":")[0])
        chosen = {"model": recipe.model, "task": recipe.task}
        chosen |= {"source": recipe.data.split()[0]} if recipe.data else {}
    except UserError:  # a file of the user's own
        pass
    for kind, path in components.SECTIONS.items():
        if name := values.get(f"--{path}.name"):
            chosen[kind] = name
    return {k: v for k, v in chosen.items() if v in components.TABLES[k]}
