"""Recipes and experiments: what their files say of themselves, read without running one."""

import ast
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.config_file import load_config
from lepton_jax.config.recipes import Folder, find_recipe, list_recipes
from lepton_jax.config.schema import REQUIRED, signature_keys
from lepton_jax.config.walk import to_tree, walk
from lepton_jax.console import format_program
from lepton_jax.errors import UserError, describe_error
from lepton_jax.io.files import name_nearest
from lepton_jax.reference.docstrings import read_docstring, split_sentence
from lepton_jax.trees import flatten_dict

_FACT = re.compile(r"(After|Expected|Cost): (.*?)(?=\s(?:After|Expected|Cost|Run):|\n\n|\Z)", re.S)

_PROGRAM = re.compile(r"\bpython launch\.py\b|(?<!\S)lepton(?= [a-z_]+ --)")
"""What starts a command line in the words of a recipe."""

FUNCTIONS = {"recipe": "get_config", "experiment": "get_experiment"}
FOLDERS: Mapping[str, Folder] = {"recipe": "configs", "experiment": "experiments"}


@dataclass(frozen=True)
class Recipe:
    """A config file or an experiment file, as it introduces itself."""

    name: str
    path: str
    forms: tuple[str, ...]
    """What may stand behind its name: ('tiny',) for `NAME:tiny`."""
    summary: str
    model: str
    task: str
    data: str
    cost: str
    documentation: str
    form: str = ""
    """The form whose keys are shown; '' for the recipe itself."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """What the config sets to other than the defaults, by path; empty for an experiment."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        said = _PROGRAM.sub(lambda _: format_program(), self.documentation)
        name = f"{self.name}:{self.form}" if self.form else self.name
        lines = [f"{name} ({self.path})", "", said]
        if self.forms:
            lines += ["", f"Forms: {', '.join(f':{form}' for form in self.forms)}"]
        if self.keys:
            lines += ["", f"What {name} sets to other than the defaults:"]
            lines += [f"  {path} = {value!r}" for path, value in self.keys.items()]
        return "\n".join(lines)

    __repr__ = __str__


def read_recipe(file: str, function: str) -> Recipe:
    """Reads a file whose `function` returns a config or an experiment.

    Raises:
      UserError: when it is no Python file.
    """
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError) as e:
        raise UserError(f"{file} cannot be read: {describe_error(e)}") from None
    documentation = ast.get_docstring(tree) or ""
    facts = {name: " ".join(text.split()) for name, text in _FACT.findall(documentation)}
    named = {section: _component(tree, section) for section in ("model", "task", "source")}
    return Recipe(
        Path(file).stem,
        file,
        _forms(tree, function),
        read_docstring(documentation).summary,
        named["model"],
        named["task"],
        named["source"],
        split_sentence(facts.get("Cost", ""))[0].removesuffix("."),
        documentation,
    )


def _component(tree: ast.AST, section: str) -> str:
    """Returns the name in the first `section=dict(name=...)`, and a data set's; '' without one."""
    found: dict[int, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=arg, value=ast.Call(func=ast.Name(id="dict"), keywords=keys)):
                values = {k.arg: k.value.value for k in keys if isinstance(k.value, ast.Constant)}
                if arg == section and "name" in values:
                    names = (str(values[k]) for k in ("name", "dataset") if k in values)
                    found[node.lineno] = " ".join(names)
    return found[min(found)] if found else ""


def _forms(tree: ast.Module, function: str) -> tuple[str, ...]:
    """Returns the arguments that a file's function takes, as the annotation of `arg` lists them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function and node.args.args:
            inside = ast.walk(node.args.args[0])
            constants = (n.value for n in inside if isinstance(n, ast.Constant))
            return tuple(c for c in constants if isinstance(c, str) and c)
    return ()


def read_all(kind: str) -> list[Recipe]:
    """Reads every recipe, or every experiment, in the order of their names."""
    return [read_recipe(file, FUNCTIONS[kind]) for file in list_recipes(FOLDERS[kind]).values()]


def list_recipe_names(kind: str) -> list[str]:
    """Lists the names of the recipes, or of the experiments."""
    return [*list_recipes(FOLDERS[kind])]


def read_named(kind: str, name: str) -> Recipe:
    """Reads the recipe or experiment of a name, or a file of the user's own.

    Raises:
      UserError: where there is none so called, with the nearest one.
    """
    file = find_recipe(name, FOLDERS[kind])
    if not os.path.isfile(file):
        raise UserError(f"there is no file {file}{name_nearest(file)}")
    return read_recipe(file, FUNCTIONS[kind])


def read_with_keys(name: str) -> Recipe:
    """Reads a recipe as `read_named` does, with the keys that it sets. The name may have a form,
    `digits_cnn:tiny`, whose keys they are then.

    Raises:
      UserError: as `read_named`, and where the recipe has no such form.
    """
    given, _, form = name.partition(":")
    recipe = read_named("recipe", given)
    return replace(recipe, form=form, keys=_changed_keys(recipe.path + (form and f":{form}")))


def _changed_keys(path: str) -> dict[str, Any]:
    """Returns what the config at `path` sets to other than the defaults, by path of its key."""
    config, _ = load_config(path)
    # The names of components that a config has without being told, `schedule.name`.
    usual = flatten_dict({k: to_tree(key.default) for k, key in signature_keys(Config).items()})
    return {
        leaf.name: value
        for leaf in walk(config)
        if (value := to_tree(leaf.value)) != usual.get(leaf.name, REQUIRED)
        and (leaf.default is REQUIRED or value != to_tree(leaf.default))
    }
