"""What is installed with this package, and the command that installs what is not."""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping

from lepton_jax.console import format_python

PACKAGE = os.path.dirname(os.path.abspath(__file__))
BROUGHT = os.path.join(PACKAGE, "recipes")
"""What lies beside the package in the repository and inside it where it is installed."""


def _find_checkout() -> str | None:
    above = os.path.dirname(PACKAGE)
    is_there = os.path.isfile(os.path.join(above, "pyproject.toml"))
    return above if is_there and not os.path.isdir(BROUGHT) else None


CHECKOUT = _find_checkout()
"""The repository's folder, where the package is used from it."""


def format_install(name: str) -> str:
    """Returns the command that installs an extra of this package, or a package that it uses.

    It works in a checkout and beside an installed package: `python -m pip install 'wandb>=0.19'`.
    """
    extras = read_extras()
    needed = extras.get(name) or [
        requirement
        for requirements in extras.values()
        for requirement in requirements
        if _project(requirement) == name
    ]
    words = map(shlex.quote, dict.fromkeys(needed or [name]))
    pip = f"{format_python()} -m pip" if importlib.util.find_spec("pip") else "uv pip"
    return f"{pip} install {' '.join(words)}"


@functools.cache
def read_extras() -> Mapping[str, list[str]]:
    """Reads the requirements of each extra, `{'wandb': ['wandb>=0.19']}`; under '' what is always
    needed. They are those of the installed package, or of the checkout's pyproject.toml.
    """
    if CHECKOUT is None:
        return _read_installed()
    with open(os.path.join(CHECKOUT, "pyproject.toml"), "rb") as f:
        project = tomllib.load(f)["project"]
    with open(os.path.join(CHECKOUT, "requirements.txt"), encoding="utf-8") as text:
        always = [line.strip() for line in text if line.strip() and not line.startswith("#")]
    return {"": always, **project["optional-dependencies"]}


def _read_installed() -> dict[str, list[str]]:
    try:
        lines: Iterable[str] = importlib.metadata.requires("lepton_jax") or ()
    except importlib.metadata.PackageNotFoundError:  # copied, not installed
        lines = ()
    extras: dict[str, list[str]] = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == ['\"](.+?)['\"]", marker)
        extras.setdefault(extra[1] if extra else "", []).append(requirement.strip())
    return extras


def _project(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]
