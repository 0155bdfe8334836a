"""Makes of the text of a condition what judges a bundle by it."""

from lepton_jax.config import gate_text
from lepton_jax.config.nearest_value import Mismatch
from lepton_jax.errors import UserError
from lepton_jax.registry.gate.budgets import LatencyBound, SizeBound
from lepton_jax.registry.gate.condition import Condition
from lepton_jax.registry.gate.not_worse import NotWorse
from lepton_jax.registry.gate.of_examples import ExampleBound, Measure
from lepton_jax.registry.gate.of_metrics import MetricBound
from lepton_jax.registry.gate.origin import Clean, Replayed, Signed


def parse_condition(text: str) -> Condition:
    """Parses one condition, in any form of `gate_text.FORMS`.

    Raises:
      UserError: when it is none of them.
    """
    try:
        read = gate_text.read_condition(text)
    except Mismatch as e:
        raise UserError(f"gate {e}", instead=(text, e.meant) if e.meant else None) from None
    if read.end or read.what in (*gate_text.RATES, gate_text.CALIBRATION, gate_text.ROBUST):
        return ExampleBound(Measure(read.what, read.of), read.end, read.sign, read.bound)
    if read.unit == "production":
        return NotWorse(read.bound)
    match read.what:
        case "signed":
            return Signed()
        case "clean":
            return Clean()
        case "latency":
            return LatencyBound(read.sign, read.bound, read.unit)
        case "size":
            return SizeBound(read.sign, read.bound, read.unit)
        case "replayed":
            return Replayed(int(read.bound))
    return MetricBound(read.what, read.sign, read.bound)
