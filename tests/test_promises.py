"""Each promise of docs/security.md names tests that are there; one is seen in the code itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ON_THE_PATH = ("archive.py", "export", "isolation", "prediction", "registry", "serving", "signing")
"""What a bundle passes through from whoever sent it to the answer."""

CALLS = {"eval", "exec", "os.system", "os.popen", "os.execv", "pty.spawn", "__import__"}
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code", "runpy"}


def test_every_promise_is_held_by_a_test_that_is_there():
    page = (ROOT / "docs/security.md").read_text()
    rows = re.findall(r"^\| .+ \| (`tests/.+`) \|$", page, re.M)
    assert len(rows) > 10
    for row in rows:
        for file, name in re.findall(r"`(tests/\S+\.py)::(\w+)`", row):
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def found_in(path: Path) -> Iterator[str]:
    """Yields what a file calls or imports that could run what a bundle says."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield from {ast.unparse(node.func)} & CALLS
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            yield from (f"{k}=True" for k in ("shell", "allow_pickle") if given.get(k) == "True")
        elif isinstance(node, ast.Import):
            yield from {name.name.partition(".")[0] for name in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").partition(".")[0]} & MODULES


@pytest.mark.parametrize("place", ON_THE_PATH)
def test_nothing_that_a_bundle_passes_through_unpickles_evaluates_or_starts_a_shell(place):
    path = ROOT / "lepton_jax" / place
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        found = set(found_in(file))
        # isolated.py imports by name what must not be there, and each name is the lab's own.
        allowed = {"__import__"} if file.name == "isolated.py" else set()
        assert found <= allowed, f"{file.name}: {found}"
