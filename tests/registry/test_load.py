"""A bundle and a registered version as Python objects."""

import re
from pathlib import Path

import numpy as np
import pytest

import lepton_jax as lj
from lepton_jax.notebook.opened_bundle import OpenedBundle
from lepton_jax.serving import loader


def test_a_bundle_answers_and_says_what_it_is(bundle: Path):
    opened = lj.load(bundle)
    assert isinstance(opened, OpenedBundle)
    assert opened.id == loader.bundle_id(bundle)
    stored = loader.load_bundle(bundle).examples()
    answers = opened.predict(stored["inputs"])
    np.testing.assert_array_equal(answers.outputs["label"], stored["outputs"]["label"])
    assert opened.predict(examples=3)[0].truth == str(stored["truth"]["label"][0])
    assert "hidden.kernel" in opened.weights
    assert opened.id in opened._repr_html_()


@pytest.mark.parametrize("name", ["params", "module", "metrics"])
def test_what_a_bundle_has_not_it_says_in_a_sentence(bundle: Path, name: str):
    with pytest.raises(lj.UserError, match=r"a bundle has no .*load the run that it came from"):
        getattr(lj.load(bundle), name)


@pytest.mark.usefixtures("registry_root")
def test_a_registered_version_is_opened_by_its_alias_or_number(bundle: Path):
    lj.register(bundle, "digits")
    assert lj.load("digits/1").id == loader.bundle_id(bundle)
    with pytest.raises(lj.UserError, match=re.escape("digits has no alias 'staging'")):
        lj.load("digits@staging")
