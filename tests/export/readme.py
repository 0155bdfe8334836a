"""Reads the programs in a bundle's README.md."""

import re
from pathlib import Path
from typing import NamedTuple


class Part(NamedTuple):
    """A part of a README with a program: what it installs first, and the program."""

    install: str
    language: str
    code: str


def parts_of(bundle: Path) -> dict[str, Part]:
    """The parts with a program, by their heading."""
    found = {}
    for part in re.split(r"^## ", (bundle / "README.md").read_text(), flags=re.M)[1:]:
        heading = part.splitlines()[0]
        install = re.search(r"^    (.* install .*)$", part, re.M)
        fence = re.search(r"^```(\w+)\n(.*?)^```$", part, re.M | re.S)
        if install and fence:
            found[heading] = Part(install[1], fence[1], fence[2])
    return found
