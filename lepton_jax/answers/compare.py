"""How two batches of answers are compared, array by array."""

import numpy as np

from lepton_jax.answers.kind import AnswerComparison, Arrays

# B batch.


def compare_arrays(
    got: Arrays, expected: Arrays, tolerance: float, equal: str = ""
) -> AnswerComparison:
    """Compares outputs `[B, ...]` by name: floats within the tolerance, everything else equal.

    Pixels, uint8, are rounded floats in [0, 1]: where one lies at the border between two levels the
    other level is as right. `equal` stands in the sentence about answers that are the same.
    """
    if got.keys() != expected.keys() or any(got[k].shape != expected[k].shape for k in expected):
        shapes = {k: v.shape for k, v in got.items()}
        return AnswerComparison(False, f"outputs {shapes} are not those of the examples")
    furthest, count = 0.0, 0
    for field, wanted in expected.items():
        count = len(wanted)
        pixels = wanted.dtype == np.uint8
        if pixels or np.issubdtype(wanted.dtype, np.floating):
            difference = np.abs(got[field].astype(np.float64) - wanted.astype(np.float64))
            if pixels:
                difference = np.maximum(difference - 1, 0) / 255
            if not (difference <= tolerance).all():  # NaN is not within anything
                return AnswerComparison(
                    False,
                    f"{field!r} is off by {np.max(difference):.2g} (tolerance {tolerance:g})",
                )
            furthest = max(furthest, float(difference.max(initial=0.0)))
        elif not np.array_equal(got[field], wanted):
            wrong = int((got[field] != wanted).sum())
            return AnswerComparison(False, f"{field!r} differs in {wrong} of {wanted.size} places")
    return AnswerComparison(
        True,
        f"{count} example{'s' * (count != 1)}: {equal}largest difference {furthest:.1g} "
        f"(tolerance {tolerance:g})",
    )
