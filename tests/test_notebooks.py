"""The notebooks of the docs are those of their sources, and their cells run."""

import json
from pathlib import Path
from typing import Any

import pytest

from docs.notebooks import make

ROOT = Path(__file__).parent.parent
DIGITS = "digits_cnn:tiny"
TINY: dict[str, dict[str, Any]] = {
    "train_and_look": {"RECIPE": DIGITS, "SHORT": {"train_for": "3 steps"}},
    "ask_a_question": {"RECIPE": DIGITS, "SHORT": {"train_for": "3 steps"}},
    "your_own_parts": {"EXAMPLES": 200, "LENGTH": "4 steps"},
}
"""Sizes that a test has the time for."""
QUICK = "your_own_parts"


@pytest.mark.parametrize("name", make.NAMES)
def test_a_notebook_has_the_cells_of_its_source(name: str):
    notebook = json.loads((ROOT / f"docs/notebooks/{name}.ipynb").read_text())
    kept = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert kept == [cell.text for cell in make.read_cells(name)], "python docs/notebooks/make.py"


@pytest.mark.parametrize(
    "name", [n if n == QUICK else pytest.param(n, marks=pytest.mark.slow) for n in make.NAMES]
)
def test_the_cells_of_a_notebook_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    cells = make.read_cells(name)
    outputs = make.run_cells(cells, TINY[name])
    shown = [entry for of_cell in outputs for entry in of_cell]
    assert any("text/html" in entry.get("data", {}) for entry in shown)
    if name == "your_own_parts":
        assert shown[-1]["data"]["text/plain"] == ["True"]
        assert "did you mean 'gamma'" in "".join(shown[-2]["text"])
