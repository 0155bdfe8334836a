"""Says whether the learning rate is the cause of what was seen of a step."""

import math

from lepton_jax.debug.faults import Fault
from lepton_jax.debug.replay import Snapshot
from lepton_jax.training.step_length import advise_lower_rate


def tell_cause(snapshot: Snapshot, fault: Fault | None, workdir: str) -> str:
    """Returns a sentence on the learning rate, by measured sizes; '' where it plays no part."""
    lower = advise_lower_rate(workdir)
    growth, longest, means = snapshot.growth, snapshot.longest, snapshot.means
    if fault is not None and fault.stage in ("state", "batch"):
        return ""
    if growth.is_large:
        size = f"their norm is {growth.times:.2g} times that at the start"
        before = "" if fault else " before this step"
        moved = ""
        if longest is not None:
            moved = (
                f" Step {longest.step} moved them furthest, by {longest.update_norm:.2g} (learning "
                f"rate {longest.learning_rate:.2g})."
            )
        return (
            f"The weights were already too large{before}: {size}.{moved} The cause is the learning "
            f"rate: {lower}."
        )
    norm, now = means.get("update_norm", math.nan), growth.now
    if fault is None and now and norm > now:
        advice = lower[0].upper() + lower[1:]
        return (
            f"This step moves the weights by {norm:.2g}, {norm / now:.2g} times their own norm "
            f"(learning rate {means['learning_rate']:.2g}): it is too long. {advice}."
        )
    if fault is not None and not snapshot.step and fault.stage != "update":
        return "The initial weights gave this, so no learning rate helps."
    return ""
