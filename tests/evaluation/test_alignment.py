"""What answers were read from, of a run as it stands in its record."""

import numpy as np
from PIL import Image

from lepton_jax.evaluation.alignment import SHOWN, align_examples
from lepton_jax.tracking.record import Record
from lepton_jax.training import saved
from lepton_jax.training.layout import single_device_layout


def test_a_run_shows_its_translations_and_what_they_were_read_from(tiny_run):
    workdir = tiny_run("scan_simple")
    results = Record.open(str(workdir)).results()["test"]
    run = saved.load_run(str(workdir))
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
    assert Image.open(workdir / "attention.png").width > 300
