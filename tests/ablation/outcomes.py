"""Results made by hand: outcomes whose numbers a test can reckon with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.ablation import Published
from lepton_jax.ablation.analysis.outcomes import Outcome, Results


def outcome(variant: str, seed: int, test: float | None, **fields: Any) -> Outcome:
    given = dict(
        workdir=f"runs/{variant}-{seed}",
        state="finished",
        reason="",
        tuning={},
        changes={},
        valid=test,
        curve=(),
        device_seconds=10.0,
        command=f"python launch.py train --config=configs/c.py --config.seed={seed}",
    )
    return Outcome(variant=variant, seed=seed, test=test, **{**given, **fields})


def results(outcomes: Sequence[Outcome], **fields: Any) -> Results:
    given = dict(
        question="Does it help?",
        metric="accuracy",
        mode="max",
        baseline="baseline",
        variants=tuple(dict.fromkeys(o.variant for o in outcomes)),
        published={},
        provenance={},
    )
    return Results(outcomes=tuple(outcomes), **{**given, **fields})


def of_values(values: Mapping[str, Sequence[float]], **fields: Any) -> Results:
    """The values of each variant, under seeds 0, 1, 2 and on."""
    return results(
        [outcome(v, seed, x) for v, found in values.items() for seed, x in enumerate(found)],
        **fields,
    )


def large(variants: int = 200, seeds: int = 5, points: int = 300) -> Results:
    """An experiment of `variants` x `seeds` trials with long curves, of which one failed."""
    rng = np.random.default_rng(0)
    steps = np.arange(1, points + 1) * 50
    found = []
    for i in range(variants):
        name = f"learning_rate={0.001 * (i + 1):.4g}" if i else "baseline"
        changes: dict[str, Any] = {}
        if i:
            changes = {
                "optimizer.learning_rate": (0.001, 0.001 * (i + 1)),
                "model.width": (32, 32 + i % 7),
                "data.augment": ("flip", "flip, <b>crop</b>"),
            }
        for seed in range(seeds):
            end = 0.9 + 0.05 * i / variants + 0.003 * rng.normal()
            curve = end - 0.5 * np.exp(-steps / 2000) + 0.002 * rng.normal(size=points)
            failed = i == 3 and seed == 1
            found.append(
                outcome(
                    name, seed, None if failed else float(end),
                    state="failed" if failed else "finished",
                    reason="the loss was not finite at step 150" if failed else "",
                    changes=changes,
                    curve=tuple(zip(steps.tolist(), curve.tolist(), strict=True)),
                    command=f"python launch.py train --config=configs/c.py --config.seed={seed}"
                    f" --config.optimizer.learning_rate={0.001 * (i + 1)} --workdir=again",
                )
            )  # fmt: skip
    return results(
        found,
        question="Which learning rate is best </script><script>document.title='broken'</script>?",
        published={"baseline": Published(0.9, 0.01, "a paper, table 1")},
        provenance={"code": {"commit": "0123abcd", "diff": "a\nb"}, "packages": {"jax": "0.10.2"}},
    )
