"""Each promise of docs/security.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_promise_is_held_by_a_test_that_is_there():
    page = (ROOT / "docs/security.md").read_text()
    rows = re.findall(r"^\| .+ \| (`tests/.+`) \|$", page, re.M)
    assert len(rows) > 10
    for row in rows:
        for file, name in re.findall(r"`(tests/\S+\.py)::(\w+)`", row):
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"
