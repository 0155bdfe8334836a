"""lepton_jax: from a lab experiment in JAX to a registered model that answers, on one path.

    import lepton_jax as lj

    run = lj.train("digits_cnn")        # every command is a function: lj.ablate, lj.export ...
    run = lj.load("runs/digits_cnn-1")  # a run, a checkpoint, a bundle or a registered model
    loop = lj.build_loop("digits_cnn")  # data, step and record for a loop of your own

`lepton_jax.api` lists the functions. Importing the package imports none of them: each is found when
it is asked for.
"""

import importlib
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lepton_jax.version import __version__ as __version__

if TYPE_CHECKING:
    from lepton_jax.api import *  # noqa: F403  what editors and type checkers complete


def __getattr__(name: str) -> Any:
    functions = {} if name.startswith("_") else _functions()
    if name in functions:
        return functions[name]
    from lepton_jax.errors import did_you_mean

    near = did_you_mean(name, functions)
    raise AttributeError(f"module 'lepton_jax' has no attribute {name!r}{near}")


def __dir__() -> Iterable[str]:
    return sorted({*globals(), *_functions()})


def _functions() -> dict[str, Any]:
    """Returns the functions of `lepton_jax.api` by their names."""
    names = vars(importlib.import_module("lepton_jax.api"))
    return {name: value for name, value in names.items() if not name.startswith("_")}


class _Package(ModuleType):
    """This package. Its `plan` stays the function when the folder of that name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _FOLDERS_OF_COMMANDS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


_FOLDERS_OF_COMMANDS = ("debug", "export", "plan", "registry", "replay")
"""Names of a folder and of a function. `from lepton_jax.plan.plan import ...` reads the folder."""

sys.modules[__name__].__class__ = _Package
