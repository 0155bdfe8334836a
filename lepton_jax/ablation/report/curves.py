import math
from collections.abc import Sequence
from typing import Any

from lepton_jax.ablation.analysis.outcomes import Results


def curve_bands(results: Results) -> dict[str, Any]:
    """`{variant: {steps, mean, low, high, seeds}}` of the reported trials that finished.

    At the steps that all of them have; low and high are the lowest and the highest of the seeds.
    """
    found = {}
    for variant in results.variants:
        curves = [
            {step: v for step, v in o.curve if math.isfinite(v)}
            for o in results.reported(variant)
            if o.state == "finished" and o.curve
        ]
        if not curves:
            continue
        steps = thin_out(sorted(set.intersection(*map(set, curves))), CURVE_POINTS)
        values = [[c[s] for c in curves] for s in steps]
        found[variant] = {
            "steps": steps,
            "mean": [round_value(sum(v) / len(v)) for v in values],
            "low": [round_value(min(v)) for v in values],
            "high": [round_value(max(v)) for v in values],
            "seeds": len(curves),
        }
    return found


def thin_out(values: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of them, evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def round_value(value: float) -> float:
    return float(f"{value:.5g}")


CURVE_POINTS = 80
"""Of a variant's curve; a trial's own is drawn small and has half as many."""
