"""The pages of the docs: their commands are commands, their links lead somewhere, and the site's
navigation names each of them."""

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from docs import make_reference
from lepton_jax.cli.parse import parse_line
from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from lepton_jax.config.config_file import load_config
from lepton_jax.config.recipes import list_recipes
from lepton_jax.errors import UserError

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
STARTS = r"(?:lepton|python launch\.py|python -m lepton_jax)"
OPEN = ("...", "<Tab>")
"""What leaves open what a reader types."""


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def commands(text: str) -> Iterator[list[str]]:
    """Yields the words of each command that stands in a block of code, or alone in backticks."""
    yield from split_lines(re.findall(rf"`{STARTS} +([^`]+)`", text))
    yield from commands_of_blocks(text)


def commands_of_blocks(text: str) -> Iterator[list[str]]:
    text = text.replace("\\\n", " ")
    pattern = rf"^(?: {{4,}}|\$ )?(?:[A-Z_]+=\S+ )*{STARTS} +(.+)$"
    yield from split_lines(re.findall(pattern, text, re.M))


def split_lines(lines: list[str]) -> Iterator[list[str]]:
    for line in lines:
        if any(mark in line for mark in OPEN) or line.startswith("-"):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        words = [*lexer]
        end = next((i for i, word in enumerate(words) if word[0] in "|;&<>"), len(words))
        yield words[:end]


@pytest.fixture
def own_files(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Saves what a page tells the reader to save, such as a model in `my_pkg/nets.py`, and works
    in that folder."""
    saved = re.findall(
        r"[Ss]ave this(?: \w+)? as\s`([\w/.]+)`.*?^```python\n(.*?)^```",
        page.read_text(),
        re.M | re.S,
    )
    for name, code in saved:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    if saved:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for module in [m for m in sys.modules if m.partition(".")[0] == "my_pkg"]:
        del sys.modules[module]


@pytest.mark.usefixtures("own_files")
@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_commands_of_a_page_are_understood(page: Path):
    wrong = []
    for words in commands(page.read_text()):
        if len(words) == 1 and words[0] in COMMANDS.summaries:
            continue  # a sentence names a command
        try:
            arguments, _ = parse_line(COMMANDS, words)
            check_config(arguments.get("config"), arguments.get("overrides") or {})
        except UserError as e:
            wrong.append(f"{shlex.join(words)}: {e}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_the_tutorial_leads_to_a_promoted_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", "runs/registry")
    codes = [
        (words[0], run_line(COMMANDS, words)[0])
        for words in commands_of_blocks((DOCS / "tutorial.md").read_text())
    ]
    refused = [name for name, code in codes if code != 0]
    assert refused == ["promote"]  # of the worse model
    assert codes[-2:] == [("promote", 1), ("predict", 0)]


def check_config(config: str | None, overrides: dict[str, str]) -> None:
    """Reads a recipe with the overrides that a page gives it, or a config that the page has saved,
    but no other file of the reader."""
    name, _, arg = (config or "").removeprefix("configs/").partition(":")
    name = name.removesuffix(".py")
    if name in list_recipes() or Path(f"configs/{name}.py").is_file():
        load_config(f"{name}:{arg}" if arg else name, overrides)


WRITTEN = [page for page in PAGES if page.parent != make_reference.FOLDER]


@pytest.mark.parametrize("page", WRITTEN, ids=ids(WRITTEN))
def test_python_of_a_page_is_python(page: Path):
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        ast.parse(code)


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_of_a_page_lead_somewhere(page: Path):
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.M | re.S)
    wrong = []
    for plain, picture in LINK.findall(text):
        target, _, heading = (plain or picture).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (heading and heading not in headings(path)):
            wrong.append(plain or picture)
    assert not wrong


def headings(page: Path) -> set[str]:
    """Returns the anchors of a page's headings."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.M | re.S)
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.M)
    }


def test_the_navigation_of_the_site_names_every_page_once():
    named = list(leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    there = [path.relative_to(DOCS) for path in (*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb"))]
    pages = {str(path.with_suffix(".md")) for path in there}
    assert sorted(name for name in named if not name.startswith("repository/")) == sorted(pages)


def leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        parts = nav.values() if isinstance(nav, dict) else nav
        for part in parts:  # type: ignore[attr-defined]
            yield from leaves(part)
