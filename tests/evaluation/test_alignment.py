"""What answers were read from, of a run as it stands in its record."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lepton_jax
from lepton_jax.evaluation.alignment import SHOWN, align_examples
from lepton_jax.training import saved
from lepton_jax.training.layout import single_device_layout

RECIPE = str(Path(__file__).parents[2] / "configs/scan_simple.py:tiny")


@pytest.mark.usefixtures("rendered_figures")
def test_a_run_shows_its_translations_and_what_they_were_read_from(tmp_path: Path):
    results = lepton_jax.train(RECIPE, str(tmp_path)).results["test"]
    run = saved.load_run(str(tmp_path))
    test = run.data.splits["test"]
    found = align_examples(
        run.program, single_device_layout(run.program).placement, run.state, test
    )
    assert len(found) == SHOWN
    for i, one in enumerate(found):
        np.testing.assert_array_equal(one.source, test[i]["source"][: test[i]["source_length"]])
        assert run.data.decode_tokens(one.answer.tolist()) == results["translations"][i]["answer"]
        assert one.weights.shape == (len(one.answer), len(one.source))
        np.testing.assert_allclose(one.weights.sum(-1), 1, rtol=1e-5)
    assert Image.open(tmp_path / "attention.png").width > 300
