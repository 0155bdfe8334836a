"""Lists of what there is to choose, by the words that `list` and `describe` are asked with."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.schema import signature_keys
from lepton_jax.console import format_command
from lepton_jax.errors import UserError
from lepton_jax.nearest import find_nearest
from lepton_jax.reference import components, recipes
from lepton_jax.reference.description import Description, wrap
from lepton_jax.reference.recipes import Recipe
from lepton_jax.reference.sections import describe_section

FILES: Mapping[str, str] = {
    "recipe": "configs that come with lepton_jax",
    "experiment": "questions that come with lepton_jax",
}
"""What is listed besides components, with what it is."""

KINDS: Mapping[str, str] = {**components.KINDS, **FILES}


@dataclass(frozen=True)
class Listing:
    """Names with a line each. A command's result."""

    kind: str
    """What is listed: 'model', 'recipe' ...; '' for the kinds themselves."""
    items: tuple[dict[str, Any], ...]
    """JSON values, each with `name` and `summary`; `more` is a further line of it."""
    hint: str

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "items": self.items}

    def __str__(self) -> str:
        width = min(100, shutil.get_terminal_size((100, 24)).columns)
        longest = max(len(item["name"]) for item in self.items)
        indent = min(longest, 24) + 2
        lines: list[str] = []
        for item in self.items:
            name, text = item["name"], wrap(item["summary"], width, indent)
            if len(name) < indent - 1:
                lines.append(name.ljust(indent) + text[0].strip())
                text = text[1:]
            else:
                lines.append(name)
            lines += [*text, *wrap(item.get("more", ""), width, indent)]
        return "\n".join([*lines, "", self.hint])

    __repr__ = __str__


def list_kinds() -> Listing:
    """Lists what can be listed."""
    items = [
        {"name": plural(kind), "summary": summary, "count": len(_names(kind))}
        for kind, summary in KINDS.items()
    ]
    return Listing("", tuple(items), f"More: {format_command('list models')}")


def list_kind(word: str) -> Listing:
    """Lists everything of a kind, a line each.

    Raises:
      UserError: where nothing is so called, with the nearest word.
    """
    kind = read_kind(word)
    hint = f"More: {format_command(f'describe {_word(kind)} NAME')}"
    if kind in FILES:
        return Listing(kind, tuple(map(_item_of, recipes.read_all(kind))), hint)
    found = components.list_components(kind)
    return Listing(kind, tuple({"name": k, "summary": v} for k, v in found.items()), hint)


def describe(words: Sequence[str]) -> Description | Recipe:
    """Describes what words ask for: `model cnn`, `cnn`, `config.data`, `recipe digits_cnn`.

    Raises:
      UserError: where nothing is so called, with the nearest name.
    """
    first, *rest = words
    if first == "host" and rest[:1] == ["transform"]:
        first, *rest = "host_transform", *rest[1:]
    if first.partition(".")[0] == "config" and not rest:
        return describe_section(first)
    if first == "config":  # `config optimizer.groups`: a path in two words
        path = ".".join(words)
        raise UserError(
            f"expected a path of the config in one word, got {' '.join(words)!r}",
            try_line=["describe", path],
        )
    if len(rest) > 1:
        raise UserError(f"describe takes one name, got {' '.join(rest)}")
    if rest:
        return _describe_named(read_kind(first), rest[0])
    return _describe_any(first)


def read_kind(word: str) -> str:
    """Returns the kind that a word means, of either number: `models`, `host_transform`.

    Raises:
      UserError: where it means none, with the nearest word.
    """
    kinds = {name: kind for kind in KINDS for name in (_word(kind), plural(kind))}
    name = word.lower().replace("-", "_").replace(" ", "_")
    if name not in kinds:
        near = find_nearest(name, kinds)
        there = f"there are: {', '.join(map(plural, KINDS))}"
        raise UserError(
            f"there is no kind {word!r}" + (f" (did you mean {near!r}?)" if near else f"; {there}"),
            instead=(word, near) if near else None,
        )
    return kinds[name]


def plural(kind: str) -> str:
    """Returns the word that lists a kind: `strategies`, `host_transforms`."""
    word = _word(kind)
    return f"{word.removesuffix('y')}ies" if word.endswith("y") else f"{word}s"


def article(word: str) -> str:
    """Returns the article of a word: `an optimizer`, `a model`."""
    return "an" if word[0] in "aeiou" else "a"


def _word(kind: str) -> str:
    return kind.replace(" ", "_")


def _names(kind: str) -> list[str]:
    return recipes.list_recipe_names(kind) if kind in FILES else list(components.TABLES[kind])


def _describe_named(kind: str, name: str) -> Description | Recipe:
    if kind == "recipe":
        return recipes.read_with_keys(name)
    if kind in FILES:
        return recipes.read_named(kind, name)
    return components.describe_component(kind, name)


def _describe_any(name: str) -> Description | Recipe:
    """Describes what a name without its kind is, if only one thing is so called."""
    kinds = [kind for kind in KINDS if name.partition(":")[0] in _names(kind)]
    if len(kinds) == 1:
        return _describe_named(kinds[0], name)
    if kinds:
        ways = " or ".join(f"{_word(kind)} {name}" for kind in kinds)
        raise UserError(
            f"several things are called {name!r}; expected {ways}",
            try_line=["describe", _word(kinds[0]), name],
        )
    if name in (*map(_word, KINDS), *map(plural, KINDS)):
        kind = read_kind(name)
        raise UserError(
            f"expected the name of {article(kind)} {kind} too, such as "
            f"{_word(kind)} {_names(kind)[0]}",
            try_line=["list", plural(kind)],
        )
    if name.partition(".")[0] in signature_keys(Config):
        return describe_section(f"config.{name}")
    kind_of = {n: kind for kind in KINDS for n in _names(kind)}
    near = find_nearest(name, kind_of)
    meant = f"{_word(kind_of[near])} {near}" if near else ""
    raise UserError(
        f"nothing is called {name!r}" + (f" (did you mean {meant!r}?)" if meant else ""),
        try_line=["describe", *meant.split()] if meant else ["list"],
    )


def _item_of(recipe: Recipe) -> dict[str, Any]:
    parts = ", ".join(filter(None, (recipe.task, recipe.model, recipe.data)))
    cost = recipe.cost.partition(";")[0]
    forms = " ".join(f":{form}" for form in recipe.forms)
    more = "; ".join(filter(None, (parts, f"cost {cost}" if cost else "", forms)))
    keys = ("name", "summary", "model", "task", "data", "cost", "forms")
    return {k: getattr(recipe, k) for k in keys} | {"more": more}
