"""Finds recipes and experiments by their names: `digits_cnn` is `configs/digits_cnn.py`.

A file of the user's current folder comes before one that lepton_jax brings. The latter are in the
repository's `configs/` and `experiments/`, and in `recipes/` of an installed package.
"""

import functools
import os
from typing import Literal

from lepton_jax.console import say
from lepton_jax.errors import UserError, list_names
from lepton_jax.installation import BROUGHT, CHECKOUT
from lepton_jax.nearest import find_nearest

Folder = Literal["configs", "experiments"]

_KINDS = {"configs": "recipe", "experiments": "experiment"}
_FLAGS = {"configs": "--config", "experiments": "--experiment"}


def list_recipes(folder: Folder = "configs") -> dict[str, str]:
    """Lists the recipes, or the experiments, that lepton_jax brings: the file of each by its name.
    They are in the order of their names.
    """
    return _list_files(os.path.join(CHECKOUT or BROUGHT, folder))


def _list_files(home: str) -> dict[str, str]:
    """Lists the Python files of a folder by their names; none where it is not there."""
    files = sorted(os.listdir(home)) if os.path.isdir(home) else []
    return {
        file.removesuffix(".py"): os.path.join(home, file)
        for file in files
        if file.endswith(".py") and not file.startswith("_")
    }


def find_recipe(given: str, folder: Folder = "configs") -> str:
    """Returns the file that a name means, such as `digits_cnn`; a path, with '/' or '.', stays.

    Raises:
      UserError: for a name of none, and for a path that is not there where its name is one.
    """
    ours = list_recipes(folder)
    kind, flag = _KINDS[folder], _FLAGS[folder]
    if not given or os.sep in given or "." in given:
        name = os.path.basename(given).removesuffix(".py")
        if name in ours and not os.path.exists(given):
            raise UserError(
                f"there is no file {given}; the name of lepton_jax's {kind} is {name}",
                instead=(given, name),
            )
        return given
    own = os.path.join(folder, f"{given}.py")
    if os.path.isfile(own):
        if given in ours and not os.path.samefile(own, ours[given]):
            _say_once(f"note: {flag}={given} is {own} here, not the {kind} of lepton_jax")
        return own
    if given in ours:
        return ours[given]
    if os.path.isdir(given):
        raise UserError(f"{kind} {given}: it is a folder; expected a name or a file, FILE.py")
    here = f"{given}.py"
    nearest = here if os.path.isfile(here) else find_nearest(given, [*_list_files(folder), *ours])
    near = f" (did you mean '{nearest}'?)" if nearest else f"; there are: {list_names(ours)}"
    raise UserError(
        f"{kind} {given}: there is no {own}, and no {kind} of lepton_jax has this name{near}",
        instead=(given, nearest) if nearest else None,
    )


@functools.cache
def _say_once(message: str) -> None:
    say(message)
