"""Writes docs/reference: every config key, component, command and function, as the code has them.

    python -m docs.make_reference

A test says when the pages are out of date.
"""

import functools
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_jax import ablation, api
from lepton_jax.commands import COMMANDS, find_command
from lepton_jax.config.components import TABLES
from lepton_jax.notebook.answers import Answers
from lepton_jax.notebook.images import GeneratedImages
from lepton_jax.notebook.loop_parts import LoopParts
from lepton_jax.notebook.loop_record import LoopRecord
from lepton_jax.notebook.opened_bundle import OpenedBundle
from lepton_jax.notebook.run import Run
from lepton_jax.notebook.split_results import SplitResults
from lepton_jax.reference.components import KINDS, describe_component
from lepton_jax.reference.description import (
    RUNS,
    VARIES,
    Description,
    KeyDescription,
    end_sentence,
    explain_terms,
)
from lepton_jax.reference.listing import plural
from lepton_jax.reference.sections import list_sections, read_field_docstrings

FOLDER = Path(__file__).parent / "reference"
QUESTIONS = [getattr(ablation, name) for name in ablation.__all__]
FUNCTIONS = (api.load, api.build_loop)
OBJECTS = (Run, OpenedBundle, SplitResults, Answers, GeneratedImages, LoopParts, LoopRecord)
OPTIMIZERS = "optimizers.md"
"""The page whose text is optax's, so that it depends on optax's version."""


def make_pages() -> dict[str, str]:
    """Returns the text of every page by its name."""
    pages = {"config.md": _config_page()}
    pages |= {f"{plural(kind)}.md": _kind_page(kind) for kind in KINDS}
    pages |= {"commands.md": _commands_page(), "api.md": _api_page()}
    return {"index.md": _index_page(pages), **pages}


def optax_version() -> str:
    """Returns the version of optax that the page of optimizers is about."""
    return importlib.metadata.version("optax")


def _index_page(pages: Mapping[str, str]) -> str:
    lines = [
        "# Reference",
        "",
        "These pages are made from the code by `python -m docs.make_reference`. On the command",
        "line `lepton list` and `lepton describe` say the same of what is installed, and of",
        "components of your own.",
        "",
    ]
    for name, text in pages.items():
        title, first = text.removeprefix("# ").split("\n\n")[:2]
        lines.append(f"- [{title}]({name}): {' '.join(first.split())}")
    return _page(lines)


def _config_page() -> str:
    sections = list_sections()
    lines = ["# Config keys", "", "Every key of a config, section by section.", ""]
    return _described_page(lines, sections)


def _kind_page(kind: str) -> str:
    lines = [f"# {plural(kind).replace('_', ' ').capitalize()}", ""]
    lines += [f"{KINDS[kind][0].upper()}{KINDS[kind][1:]}.", ""]
    if kind == "optimizer":
        lines += [f"The keys and their meanings are those of optax {optax_version()}.", ""]
    return _described_page(lines, [describe_component(kind, name) for name in TABLES[kind]])


def _described_page(lines: list[str], described: Sequence[Description]) -> str:
    for sentence in explain_terms([key for one in described for key in one.keys]):
        lines += [sentence, ""]
    for one in described:
        lines += _described(one)
    return _page(lines)


def _commands_page() -> str:
    lines = ["# Commands", "", "Every command of the command line, with its flags.", ""]
    for name, summary in COMMANDS.summaries.items():
        told = (inspect.getdoc(find_command(name)) or "").replace("python launch.py", "lepton")
        lines += [f"## {name}", "", f"`{name}`: {summary}.", "", "```text", told, "```", ""]
    return _page(lines)


def _api_page() -> str:
    lines = [
        "# Python",
        "",
        "The functions of `lepton_jax`, and the objects that they return.",
        "",
        "Every command is a function, such as `lepton_jax.train`. Its arguments are the command's",
        "flags. It returns a result: `str()` of it is what the command line prints, `as_json()`",
        "what `--json` prints. [In a notebook](../notebook.md) shows the others at work.",
        "",
    ]
    for function in FUNCTIONS:
        told = inspect.getdoc(function) or ""
        lines += [f"## {function.__name__}", "", "```python", _format_call(function), "```", ""]
        lines += ["```text", told, "```", ""]
    for type_ in OBJECTS:
        lines += [f"## {type_.__name__}", "", inspect.getdoc(type_) or "", "", *_members(type_), ""]
    for name in COMMANDS.summaries:
        function = getattr(api, name)
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        lines += [f"## {name}", "", "```python", _format_call(function), "```", "", summary, ""]
        lines += [f"Its arguments: [{name}](commands.md#{name}).", ""]
    lines += ["## In an experiment file", "", "What `lepton_jax.ablation` has.", ""]
    for part in QUESTIONS:
        summary = (inspect.getdoc(part) or "").partition("\n\n")[0]
        call = _format_call(part).replace("<factory>", "{}")
        lines += [f"### {part.__name__}", "", "```python", call, "```", "", summary, ""]
        lines += [*_members(part), ""] if inspect.isclass(part) else []
    return _page(lines)


def _members(type_: type) -> Iterator[str]:
    """Yields a table of what an object has: fields, properties and methods."""
    said = dict(read_field_docstrings(type_))
    for name, member in vars(type_).items():
        if isinstance(member, property | functools.cached_property):
            function = member.fget if isinstance(member, property) else member.func
            said[name] = inspect.getdoc(function) or ""
        elif inspect.isfunction(member):
            call = _format_call(member).replace("(self, ", "(").replace("(self)", "()")
            said[call] = inspect.getdoc(member) or ""
    public = {name: text for name, text in said.items() if not name.startswith("_")}
    if public:
        yield from ("| member | meaning |", "|---|---|")
    for name, text in public.items():
        yield f"| `{name}` | {' '.join(text.partition(chr(10) * 2)[0].split())} |"


def _format_call(function: Callable[..., Any]) -> str:
    """Formats how a function is called: `export(workdir, out, *, checkpoint='best')`."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    line = f"{function.__name__}{inspect.Signature(bare)}"
    if len(line) <= 100:
        return line
    lines = [
        f"    {text}," for text in re.split(r", (?![^(]*\))", str(inspect.Signature(bare))[1:-1])
    ]
    return "\n".join([f"{function.__name__}(", *lines, ")"])


def _described(description: Description) -> Iterator[str]:
    """Yields the lines of a component or a section."""
    title = description.title.rpartition(" ")[2]
    yield from (f"## {title}", "")
    if description.place:
        yield from (f"`{description.place}`", "")
    for text in filter(None, (end_sentence(description.summary), description.details)):
        yield from (re.sub(r"Raises:\n +(\w+):", r"Raises `\1`", text), "")
    if description.keys:
        yield from (*_table(description.title, description.keys), "")
    if description.use:
        yield from (f"Choose it: `{description.use}`", "")


def _table(section: str, keys: Sequence[KeyDescription]) -> Iterator[str]:
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for key in keys:
        marks = [mark for mark, holds in ((VARIES, key.trialable), (RUNS, key.running)) if holds]
        meaning = " ".join([key.meaning, *(f"*({mark})*" for mark in marks)])
        default = "required" if key.required else f"`{key.default}`"
        cells = (f"`{key.name}`", _linked(key.type, f"{section}.{key.name}"), default, meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _linked(type_: str, path: str) -> str:
    """Returns the type of a key with a link to the section or the components that it may be."""
    if not path.startswith("config."):
        return type_
    if match := re.search(r"\bsections? by name|\ba section", type_):
        anchor = path.replace(".", "") + ("name" if "by name" in match[0] else "")
        return type_.replace(match[0], f"[{match[0]}](#{anchor})")
    for kind in sorted(KINDS, key=len, reverse=True):
        if match := re.search(rf"\b{kind}s?\b", type_):
            return type_.replace(match[0], f"[{match[0]}]({plural(kind)}.md)", 1)
    return type_


def _page(lines: Sequence[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in make_pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
