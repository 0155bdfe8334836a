"""The results of one split, as a mapping that a notebook shows at a glance."""

import math
from collections.abc import Mapping
from typing import Any

from lepton_jax.notebook.html import format_rows


class SplitResults(dict[str, Any]):
    """`{'loss': 0.1, 'accuracy': 0.98, 'confusion': [[...]], ...}` of one split.

    Shown are the numbers, and of everything else the name.
    """

    @property
    def numbers(self) -> dict[str, float]:
        """The results that are numbers; those that were not finite too."""
        return {k: x for k, v in self.items() if (x := _number(v)) is not None and k != "step"}

    def __repr__(self) -> str:
        said = [f"{name} {value:.4g}" for name, value in self.numbers.items()]
        others = [k for k in self if k not in self.numbers and k != "step"]
        return ", ".join(said) + (f" (and {', '.join(others)})" if others else "")

    def _repr_html_(self) -> str:
        return format_rows((name, f"{value:.4g}") for name, value in self.numbers.items())


def name_results(results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record's results, `{'test': {...}}`, with each split as `SplitResults`."""
    return {k: SplitResults(v) if isinstance(v, Mapping) else v for k, v in results.items()}


def _number(value: Any) -> float | None:
    """Returns a value as a float if it is one; a record writes NaN and the infinities as texts."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return math.nan if value == "nan" else float(value)
    return None
