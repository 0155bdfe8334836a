"""The value that is offered for a wrong one is what was probably meant, or nothing is."""

import pytest

from lepton_jax.config.nearest_value import Mismatch, fit_value
from lepton_jax.config.schema import Rate


@pytest.mark.parametrize(("given", "meant"), [(10.0, "0.1"), ("1.5%", "0.015"), (1.5, "")])
def test_a_share_above_one_is_a_percentage_where_it_is_whole_or_says_so(given: object, meant: str):
    with pytest.raises(Mismatch) as e:
        fit_value(given, Rate)
    assert e.value.meant == meant
