"""How much of the devices' peak a run achieves."""

from collections.abc import Callable, Sequence
from typing import Any

from lepton_jax.perf.chips import find_chip


class Utilization:
    """Model FLOP/s over the devices' peak (MFU; Chowdhery et al. 2022, appendix B)."""

    def __init__(self, model_flops: Callable[[], float], devices: Sequence[Any], precision: str):
        """Takes `model_flops()`, which counts a step's, and calls it only where a peak is known."""
        chip = find_chip(devices[0].device_kind)
        self._seconds = 0.0  # of a step at the peak
        if chip is not None:
            peak = chip.bfloat16 if precision == "bfloat16" else chip.float32
            self._seconds = model_flops() / (peak * len(devices))

    def __call__(self, steps_per_second: float) -> dict[str, float]:
        """Returns `{'mfu': 0.41}`; empty where the devices' peak is not known."""
        return {"mfu": steps_per_second * self._seconds} if self._seconds else {}
