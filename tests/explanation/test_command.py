"""`explain` as its users see it: the table, the folder, the page in a browser, and refusals."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import lepton_jax
from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from lepton_jax.errors import UserError
from lepton_jax.explanation.pictures import lay_over, scale_map
from tests.browser import open_chromium

METHOD = "integrated_gradients,occlusion"


@pytest.fixture(scope="module")
def explained(tiny_run, tmp_path_factory):
    """The explanations of three examples by two methods, and the folder they were written to."""
    out = tmp_path_factory.mktemp("explained") / "page"
    workdir = str(tiny_run("digits_cnn"))
    return lepton_jax.explain(workdir=workdir, examples=3, method=METHOD, out=str(out)), out


def test_a_run_is_explained_into_a_folder(explained):
    found, out = explained
    assert sorted(path.name for path in out.iterdir()) == sorted(found.files)
    written = json.loads((out / "explanation.json").read_text())
    assert written["methods"].keys() == {"integrated_gradients", "occlusion"}
    for example in written["inputs"]:
        assert len(example["parts"]["occlusion"]) == 64
        assert 0 <= example["probability"] <= 1
    assert written["methods"]["integrated_gradients"]["missing"] <= 0.01
    said = str(found)
    assert re.search(r"integrated_gradients +0\.\d+ +0\.\d+ +\d+ of 19", said)
    assert f"open: {out}/explanation.html" in said
    assert Image.open(out / "overlays.png").size[0] > 300


def test_what_fails_is_said_to_fail(explained):
    found, out = explained
    checks = found.explained.checks.methods
    page = (out / "explanation.html").read_text()
    failing = [name for name, method in checks.items() if method.faults]
    assert [n for n in checks if f"\n{n} fails: " in f"\n{found}"] == failing
    assert page.count("fails: ") == len(failing)


def test_the_page_asks_no_other_host_and_fits_a_telephone_and_the_dark(explained, tmp_path):
    _, out = explained
    with open_chromium(tmp_path / "profile") as browser:
        browser.get((out / "explanation.html").as_uri())
        images = "return [...document.images].map(i => i.naturalWidth)"
        assert browser.execute_script(images) == [8] * 9
        light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark"}]})  # fmt: skip
        dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert light != dark
        browser.set_window_size(500, 900)
        assert browser.execute_script("return document.body.scrollWidth <= innerWidth")
        log = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [
            m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"
        ]
        assert not [url for url in asked if url.startswith(("http", "ws"))]
        assert not browser.get_log("browser")


def test_a_text_is_explained_by_its_words_from_a_bundle(tiny_bundle, tmp_path):
    bundle, out = str(tiny_bundle("trec_cnn")), tmp_path / "page"
    found = lepton_jax.explain(["suba <b>zzz</b>"], bundle=bundle, method="ablation", out=str(out))
    (example,) = found.as_json()["inputs"]
    assert example["tokens"][0] == "suba"
    assert set(example["tokens"][1:]) == {"[unknown]"}
    assert example["parts"]["ablation"][0] != 0
    assert set(example["parts"]["ablation"][1:]) == {0.0}
    assert found.as_json()["methods"]["ablation"]["alike"] is None  # no weights to shuffle
    page = (out / "explanation.html").read_text()
    assert "<b>zzz" not in page
    assert page.count('title="') == 1
    assert set(found.files) == {path.name for path in out.iterdir()}
    assert "tokens.png" in found.files


def test_the_worst_examples_are_those_of_the_record(tiny_run, tmp_path):
    workdir = tiny_run("digits_cnn")
    worst = json.loads((workdir / "results.json").read_text())["test"]["worst"]
    found = lepton_jax.explain(
        workdir=str(workdir), worst=2, method="ablation", out=str(tmp_path / "page")
    ).explained
    assert found.names == tuple(f"test {e['example']}" for e in worst[:2])
    assert found.probabilities == pytest.approx([e["confidence"] for e in worst[:2]], abs=1e-4)


def test_mistakes_are_answered_by_what_to_do(tiny_run, tiny_bundle, tmp_path):
    run, bundle, out = str(tiny_run("digits_cnn")), str(tiny_bundle("digits_cnn")), str(tmp_path)
    for given, said in [
        (dict(workdir=run), "explain what?"),
        (dict(examples=1), "give one of --workdir=DIR, --bundle=DIR"),
        (dict(bundle=bundle, examples=1, method="saliency"), "no gradient (give --workdir=DIR"),
        (dict(bundle=bundle, worst=1), "--worst: a bundle keeps no list"),
        (dict(workdir=run, examples=1, method="ocluson"), "did you mean 'occlusion'"),
        (dict(workdir=run, examples=1, layer="nose"), "no layer 'nose'"),
        (dict(workdir=str(tiny_run("mnist_vae")), examples=1), "explain takes one that"),
    ]:
        with pytest.raises(UserError) as error:
            lepton_jax.explain(**given, out=out)
        assert said in str(error.value)


def test_the_command_line_refuses_with_two_and_a_line_to_try(capsys, tmp_path):
    assert run_line(COMMANDS, ["explain", f"--workdir={tmp_path}", "--examples=2"])[0] == 2
    assert "holds no record of a run" in capsys.readouterr().err


def test_overlays_are_blue_for_and_rust_against():
    image = np.full((1, 3, 1), 255, np.uint8)
    over = lay_over(image, np.asarray([[2.0, 0.0, -2.0]]))[0].astype(int)
    assert over[0, 2] > over[0, 0]
    assert (over[1] == 255).all()
    assert over[2, 0] > over[2, 2]
    assert (scale_map(np.zeros(4)) == 0).all()
