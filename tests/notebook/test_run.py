"""A run as a Python object: what its record, its data and its checkpoint say, and no more work."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lepton_jax as lj
from lepton_jax.config.config_file import resolve_config
from lepton_jax.notebook.run import Run
from lepton_jax.serving import loader


@pytest.fixture(scope="module")
def workdir(tiny_run: Callable[[str], Path]) -> Path:
    return tiny_run("digits_cnn")


@pytest.fixture(scope="module")
def run(workdir: Path) -> Run:
    run = lj.load(workdir)
    assert isinstance(run, Run)
    return run


def test_metrics_are_the_rows_of_the_record_by_their_steps(run: Run, workdir: Path):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    table = run.metrics
    steps = [int(step) for step in table["step"]]
    logged = [(name, row["step"], value) for row in map(json.loads, lines)
              for name, value in row.items() if name != "step"]  # fmt: skip
    assert {name for name, _, _ in logged} | {"step"} == set(table)
    for name, step, value in logged:
        assert table[name][steps.index(step)] == value


def test_the_module_answers_what_the_run_predicts(run: Run):
    images = run.data.splits["test"].columns["image"][:6]
    answers = run.predict(images)
    logits = np.asarray(run.module(run.prepare({"image": images})["image"]), np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(answers.outputs["probabilities"], shares, atol=1e-5)
    assert [a.label for a in answers] == [str(i) for i in shares.argmax(-1)]
    few = run.predict([images[0], {"image": images[1:3], "label": [0, 0]}])
    np.testing.assert_array_equal(few.outputs["label"], answers.outputs["label"][:3])


def test_an_evaluation_is_that_of_the_record_which_stays_as_it_is(run: Run, workdir: Path):
    before = (workdir / "results.json").read_bytes()
    assert run.evaluate("test") == {k: v for k, v in run.results["test"].items() if k != "step"}
    assert (workdir / "results.json").read_bytes() == before


def test_held_out_examples_stand_beside_their_truth(run: Run):
    answers = run.predict(examples=5)
    truth = run.data.splits["test"].columns["label"][:5]
    assert [a.truth for a in answers] == [str(i) for i in truth]
    page = answers._repr_html_()
    assert page.count("<img src='data:image/png;base64,") == 5
    assert "of 5 as labelled" in page
    assert repr(answers[:2]).startswith(f"2 answers by {run.workdir}, step ")


def test_a_checkpoint_is_opened_by_its_folder_or_its_step(run: Run, workdir: Path):
    last = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal())
    for opened in (lj.load(workdir / "checkpoints" / str(last)), lj.load(workdir, step=last)):
        assert isinstance(opened, Run)
        assert opened.checkpoint == last
    with pytest.raises(lj.UserError, match="expected 'best', 'last' or a step"):
        lj.load(workdir, step=12345).params  # noqa: B018


def test_the_config_is_given_to_train_again(run: Run):
    again, _ = resolve_config(run.config)
    assert again.fingerprint() == run.record.provenance()["fingerprint"]
    assert resolve_config(run.config, {"seed": 7})[0].seed == 7
    with pytest.raises(AttributeError):
        run.config.seed = 7


def test_a_notebook_shows_a_run_with_its_pictures(run: Run):
    page = run._repr_html_()
    assert "curves.png" in page
    assert "confusion.png" in page
    assert "<script" not in page
    assert len(repr(run)) < 300
    assert run.history._repr_png_().startswith(b"\x89PNG")


def test_what_is_not_there_is_said_in_a_sentence(run: Run, workdir: Path, tmp_path: Path):
    with pytest.raises(lj.UserError, match="generates no images"):
        run.samples  # noqa: B018
    with pytest.raises(lj.UserError, match=rf"did you mean '{workdir.name}'"):
        lj.load(f"{str(workdir)[:-1]}")
    for name in (tmp_path, "nowhere"):
        with pytest.raises(lj.UserError, match=r"is no run .* 'NAME@ALIAS' or 'NAME/VERSION'"):
            lj.load(name)
    with pytest.raises(lj.UserError, match="the model takes image; image is not among pixels"):
        run.predict({"pixels": np.zeros(3)})


@pytest.mark.slow
def test_a_generator_shows_its_samples(tiny_run: Callable[[str], Path]):
    run = lj.load(tiny_run("mnist_vae"))
    assert isinstance(run, Run)
    images = np.asarray(run.samples)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(run.predict([0, 1]).outputs["image"], images[:2])
    assert run.samples._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_run_answers_as_its_bundle_does(run: Run, tmp_path: Path):
    lj.export(run.workdir, tmp_path / "bundle")
    opened = lj.load(tmp_path / "bundle")
    images = run.data.splits["test"].columns["image"][:6]
    ours, theirs = run.predict(images), opened.predict(images)
    for name, values in theirs.outputs.items():
        np.testing.assert_allclose(ours.outputs[name], values, atol=1e-5)
    assert opened.id == loader.bundle_id(tmp_path / "bundle")
    assert opened.config.model.name == "cnn"
