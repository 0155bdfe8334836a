"""Builds the parts of a loop of your own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lepton_jax.console import say

if TYPE_CHECKING:
    from lepton_jax.notebook.loop_parts import LoopParts


def build_loop(config: Any, *, overrides: Mapping[str, Any] | None = None) -> "LoopParts":
    """Builds data, step and evaluation of a config, for a loop of your own.

    Nothing is written, and no step is taken.

    Args:
      config: a recipe's name, a config file, a ConfigDict or a dict.
      overrides: keys changed, `{"optimizer.learning_rate": 0.1}`.

    Raises:
      UserError: for whatever `train` would find before its first step.
    """
    from lepton_jax.config.config_file import resolve_config

    resolved, notes = resolve_config(config, overrides or {})
    for note in notes:
        say(note)
    from lepton_jax.notebook.loop_parts import LoopParts

    return LoopParts(resolved)
