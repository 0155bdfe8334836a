"""Six months: the bundle says until when, commands say that the end is near, and re-export."""

import datetime
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lepton_jax import api
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.exportable import prepare_export
from lepton_jax.isolation.promise import describe_end, promised_until
from lepton_jax.serving import loader
from lepton_jax.training import saved
from tests.graduation import rewrite_manifest

LONG_AGO = datetime.date(2026, 1, 31)


@pytest.fixture(scope="module")
def run(tiny_run) -> str:
    return str(tiny_run("digits_cnn"))


@pytest.fixture(scope="module")
def old(run, tmp_path_factory) -> str:
    """A bundle whose promise ended on 2026-07-31."""
    out = str(tmp_path_factory.mktemp("old") / "bundle")
    export_bundle(prepare_export(saved.load_run(run)), out, date=LONG_AGO)
    return out


def test_the_promise_lasts_six_months_to_the_day_or_to_the_end_of_the_month():
    day = datetime.date.fromisoformat
    assert promised_until(LONG_AGO) == day("2026-07-31")
    assert promised_until(day("2026-08-31")) == day("2027-02-28")
    assert promised_until(day("2026-12-15")) == day("2027-06-15")


def test_a_command_says_so_in_the_last_month_and_explains_it_afterwards():
    program = {"exported": "2026-01-31", "promised_until": "2026-07-31", "jax": "0.10.2"}
    day = datetime.date.fromisoformat
    for said in (program, {k: v for k, v in program.items() if k != "promised_until"}):
        assert describe_end(said, day("2026-06-30")) == ""
        assert "until 2026-07-31, for 30 more days" in describe_end(said, day("2026-07-01"))
        assert "for 0 more days" in describe_end(said, day("2026-07-31"))
        late = describe_end(said, day("2026-08-01"))
        assert "promised to read" in late
        assert "0.10.2, still reads it" in late
    assert describe_end({}, day("2026-08-01")) == ""  # of a bundle that does not say when


def test_predict_names_the_command_that_makes_a_new_bundle(old, capsys):
    api.predict(bundle=old, examples=1, program="stablehlo")
    said = capsys.readouterr().err
    assert "until 2026-07-31" in said
    assert f"re-export --bundle={old} --out={old}-new" in said


def test_a_new_bundle_has_the_old_ones_weights_answers_and_results(old, tmp_path):
    new = str(tmp_path / "new")
    made = api.re_export(old, new)
    assert made.old_id == loader.bundle_id(old)
    assert "labels equal" in made.compared
    was, now = loader.load_bundle(old), loader.load_bundle(new)
    assert now.signature["programs"]["stablehlo"]["promised_until"] > str(LONG_AGO)
    examples = was.examples()
    answers = now.predict(examples["inputs"])
    np.testing.assert_array_equal(answers["label"], examples["outputs"]["label"])
    for name in ("weights.safetensors", "metrics.json"):
        assert loader.read_file(old, name) == loader.read_file(new, name)
    lineage = json.loads(loader.read_file(new, "lineage.json"))
    assert lineage["re_exported_from"] == made.old_id
    assert lineage["command"] == json.loads(loader.read_file(old, "lineage.json"))["command"]


def test_weights_that_give_other_answers_are_not_exported(old, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(old, changed)
    weights = load_file(changed / "weights.safetensors")
    save_file({k: -w for k, w in weights.items()}, changed / "weights.safetensors")
    rewrite_manifest(changed)
    with pytest.raises(WorkError, match="the answers to its examples would be others"):
        api.re_export(str(changed), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="is the old bundle"):
        api.re_export(old, old)
