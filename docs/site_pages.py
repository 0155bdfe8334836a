"""Hooks of mkdocs (`mkdocs.yml`): pages of the site that docs/ does not hold, and what is checked.

A link from a page to a file of the repository outside docs/, such as `../CONTRIBUTING.md` or
`../lepton_jax/training/step.py`, works on the host of the repository. On the site that file is the
page `repository/PATH`. A notebook is a page as well.
"""

import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Files of the repository that the navigation names."""
HIDDEN = "---\nsearch:\n  exclude: true\n---\n\n"
"""The head of a page that the search does not find: code."""
LINK = re.compile(r"(?<=\]\()([^()\s#]+)(#[^()\s]*)?(?=\))")
REQUESTS = re.compile(r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*>")
ADDRESS = re.compile(r"\b(?:src|href|srcset)=[\"']?(?:https?:)?//[^\"' >]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each notebook, and for each file outside docs/ that some page links to."""
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        text = _format_notebook(json.loads(path.read_text()))
        _add(files, config, f"docs/notebooks/{path.name}", text)
    pages = [*files.documentation_pages()]
    waiting = [*ALWAYS]
    waiting += [name for page in pages for name in _outside(page.src_uri, page.content_string)]
    while waiting:
        name = waiting.pop()
        uri = _site_uri(name)
        if uri not in files.src_uris:
            text = _format_source(name)
            _add(files, config, name, text)
            waiting += _outside(uri, text)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns each link to a file of the repository into one to its page.

    A page that stands alone in the navigation gets no list of pages beside it.
    """
    uri = page.file.src_uri
    if page.parent is None:
        page.meta.setdefault("hide", ["navigation"])

    def turn(link: re.Match[str]) -> str:
        target = _repository_path(uri, link[1])
        if target is None:
            return link[0]
        return posixpath.relpath(_site_uri(target), posixpath.dirname(uri)) + (link[2] or "")

    return LINK.sub(turn, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Checks that no page asks another host for a script, a style, a font or an image.

    Raises: PluginError.
    """
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        for tag in REQUESTS.findall(path.read_text()):
            if 'rel="canonical"' not in tag and (found := ADDRESS.search(tag)):
                raise PluginError(f"{path}: asks another host: {found[0]}")


def _add(files: Files, config: MkDocsConfig, repository_path: str, text: str) -> None:
    files.append(File.generated(config, _site_uri(repository_path), content=text))


def _site_uri(repository_path: str) -> str:
    """Returns where on the site a file of the repository is, such as docs/runs.md at runs.md."""
    inside = repository_path.removeprefix("docs/")
    uri = inside if inside != repository_path else f"repository/{repository_path}"
    return uri.removesuffix(".ipynb") + ("" if uri.endswith((".md", ".png", ".svg")) else ".md")


def _repository_path(uri: str, link: str) -> str | None:
    """Returns the file of the repository that `link` on the page `uri` means, if it is one."""
    if urlsplit(link).scheme or link.startswith("/"):
        return None
    folder = posixpath.dirname(
        uri.removeprefix("repository/") if _is_outside(uri) else f"docs/{uri}"
    )
    path = posixpath.normpath(posixpath.join(folder, link))
    return path if (ROOT / path).is_file() else None


def _is_outside(uri: str) -> bool:
    return uri.startswith("repository/")


def _outside(uri: str, text: str) -> Iterator[str]:
    """Yields the files outside docs/ that the page `uri` links to."""
    for link in LINK.finditer(text):
        target = _repository_path(uri, link[1])
        if target is not None and _is_outside(_site_uri(target)):
            yield target


def _format_source(repository_path: str) -> str:
    """Returns the page of a file: its own text, or its code under its name."""
    text = (ROOT / repository_path).read_text()
    if repository_path.endswith(".md"):
        return text
    language = {".py": "python", ".yml": "yaml", ".toml": "toml"}.get(
        os.path.splitext(repository_path)[1], "text"
    )
    return f"{HIDDEN}# {repository_path}\n\n~~~~{language}\n{text.rstrip()}\n~~~~\n"


def _format_notebook(notebook: dict[str, Any]) -> str:
    """Returns a notebook as Markdown: texts, code and what the cells show."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"~~~~python\n{source}\n~~~~", *map(_format_output, cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def _format_output(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", [])})
    if "text/html" in data:
        return "<div class='output'>" + "".join(data["text/html"]).replace("\n", " ") + "</div>"
    if "image/png" in data:
        return f"<img alt='' src='data:image/png;base64,{data['image/png']}'>"
    return "~~~~text\n" + "".join(data["text/plain"]).rstrip() + "\n~~~~"
