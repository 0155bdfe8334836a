"""Checks the statistics of held-out examples in a bundle, by which a server tells drift."""

from collections.abc import Mapping

import numpy as np

from lepton_jax.serving import loader
from lepton_jax.serving.drift.measured import measure_examples
from lepton_jax.serving.drift.reference import read_reference


def check_reference(
    bundle: loader.Bundle, examples: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[str, bool | None, str]:
    """Checks that the reference is whole, and of the statistics that are measured of examples.

    Args:
      examples: of the bundle, as it reads them.

    Returns the name of the check, whether it holds, None without a reference, and a line.
    """
    try:
        reference = read_reference(bundle.folder)
    except loader.BundleError as e:
        return "drift", False, str(e)
    if reference is None:
        return "drift", None, "no statistics of held-out examples: nothing tells when inputs move"
    measured = measure_examples(bundle.signature, examples["inputs"], examples["outputs"])
    if measured.names != reference.names:
        return "drift", False, "its statistics are not those that are measured of its examples"
    splits = " and ".join(f"{n} of {split}" for split, n in sorted(reference.splits.items()))
    count = len(reference.names)
    return "drift", True, f"{count} statistics of {len(reference)} held-out examples ({splits})"
