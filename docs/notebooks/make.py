"""Makes the notebooks from their sources: `python docs/notebooks/make.py [--run] [NAME ...]`.

A source is a Python file whose cells begin with `# %%`, as editors run them: `# %% [markdown]` is
text, `# %% parameters` the cell whose values a test may change. With `--run` the cells are run, in
an empty folder, and what they show is kept in the notebook.
"""

import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.name != "make.py")


class Cell(NamedTuple):
    """A cell of a source: its text without the line that begins it."""

    kind: str
    """'', 'markdown' or 'parameters'."""
    text: str


def read_cells(name: str) -> list[Cell]:
    """Reads the cells of a source."""
    parts = re.split(r"^# %%(.*)\n", (HERE / f"{name}.py").read_text(), flags=re.M)[1:]
    cells = []
    for mark, text in zip(parts[::2], parts[1::2], strict=True):
        kind = mark.strip(" []")
        if kind == "markdown":
            text = re.sub(r"^# ?", "", text, flags=re.M)
        cells.append(Cell(kind, text.strip("\n")))
    return cells


def run_cells(cells: list[Cell], parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Runs cells in a module `__main__` of their own. Returns the outputs of each as a notebook
    keeps them.

    `parameters`: values in the place of those of the cell `parameters`.
    """
    ours, main = sys.modules["__main__"], ModuleType("__main__")
    sys.modules["__main__"] = main
    try:
        outputs = []
        for cell in cells:
            shown = [] if cell.kind == "markdown" else [*_run_cell(cell.text, vars(main))]
            outputs.append(shown)
            if cell.kind == "parameters":
                vars(main).update(parameters or {})
    finally:
        sys.modules["__main__"] = ours
    return outputs


def _run_cell(text: str, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    body = ast.parse(text).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
    if said.getvalue():
        yield {"name": "stdout", "output_type": "stream", "text": _lines(said.getvalue())}
    if value is not None:
        data: dict[str, Any] = {"text/plain": _lines(repr(value))}
        if page := getattr(value, "_repr_html_", lambda: None)():
            data["text/html"] = _lines(page)
        if png := getattr(value, "_repr_png_", lambda: None)():
            data["image/png"] = base64.b64encode(png).decode()
        yield {"data": data, "metadata": {}, "output_type": "display_data"}


def make_notebook(cells: list[Cell], outputs: list[list[Any]]) -> dict[str, Any]:
    """Returns a notebook of format 4.5."""
    made = []
    for i, (cell, shown) in enumerate(zip(cells, outputs, strict=True)):
        tags = {"tags": [cell.kind]} if cell.kind == "parameters" else {}
        entry = {"id": f"cell-{i}", "metadata": tags, "source": _lines(cell.text)}
        if cell.kind == "markdown":
            made.append({"cell_type": "markdown", **entry})
        else:
            code = {"cell_type": "code", "execution_count": None, "outputs": shown}
            made.append({**code, **entry})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main(words: list[str]) -> None:
    """Writes the notebooks that `words` names, by default all."""
    for name in [word for word in words if word != "--run"] or NAMES:
        cells, outputs = read_cells(name), []
        if "--run" in words:
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                outputs = run_cells(cells)
        notebook = make_notebook(cells, outputs or [[] for _ in cells])
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        (HERE / f"{name}.ipynb").write_text(text)


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(HERE.parent.parent))
    main(sys.argv[1:])
