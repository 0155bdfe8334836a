"""Keys that had another name: configs and records that hold the earlier one still open."""

from collections.abc import Mapping
from typing import Any

from lepton_jax.console import say
from lepton_jax.errors import UserError

RENAMED = {"patience": "hang_timeout"}
"""The names of today, by the earlier ones."""

DEFAULTS = {"patience": 1800}
"""Their defaults, which every record writes out: these are not worth a word."""

_told: set[str] = set()
"""The keys of which this process has said that they are called otherwise."""


def rename_keys(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a config's tree with the names of today. Says so, once, where a user set the key."""
    old = [name for name in RENAMED if name in tree and RENAMED[name] not in tree]
    for name in old:
        if tree[name] != DEFAULTS[name] and name not in _told:
            _told.add(name)
            say(f"config: {name} is now called {RENAMED[name]}; the earlier name still works")
    return {RENAMED[k] if k in old else k: v for k, v in tree.items()} if old else tree


def refuse_old_name(path: str, value: Any) -> None:
    """Refuses an override by an earlier name, which means something else to most users.

    Raises:
      UserError: with both that may be meant.
    """
    if path == "patience":
        raise UserError(
            f"--config.patience={value}: expected --config.early_stopping.patience={value} "
            "(evaluations without an improvement after which the run ends) or "
            f"--config.hang_timeout={value} (seconds without a step after which it ends as hung)"
        )
