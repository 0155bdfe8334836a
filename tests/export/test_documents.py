"""What a bundle tells whoever receives it: programs that run, numbers of the record, an SBOM."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lepton_jax.export.examples import EXAMPLES_FILE
from lepton_jax.export.performance import list_performances
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.judge import judge_by_gate
from lepton_jax.serving import loader
from lepton_jax.serving.observed.interval import wilson_interval
from tests.export.readme import parts_of
from tests.graduation import copied, flip

CONDITIONS = ["lower(test/accuracy)>=0", "calibration<=1"]
ROWS = [
    r"^\| test \| accuracy \| (\S+) \| \[(\S+), (\S+)\]",
    r"error on test: (\S+), 95 % interval \[(\S+), (\S+)\], on \d+ answers",
]
RECIPES = ("digits_cnn", "trec_cnn")


@pytest.fixture(scope="module")
def exported(tiny_bundle, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    return {recipe: copied(tiny_bundle(recipe), folder / recipe) for recipe in RECIPES}


def run_program(code: str) -> dict[str, Any]:
    """Runs a program of a README in this process; returns its variables."""
    variables: dict[str, Any] = {}
    exec(code, variables)
    return variables


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("heading", ["With onnxruntime", "With JAX"])
def test_a_program_of_the_readme_gives_the_labs_answers(
    exported, recipe, heading, monkeypatch, capsys
):
    bundle = exported[recipe]
    monkeypatch.chdir(bundle)
    code = parts_of(bundle)[heading].code
    answers = run_program(code)["answers"]
    assert len([line for line in code.splitlines() if line]) <= 12
    expected = loader.load_bundle(bundle).examples()["outputs"]
    assert capsys.readouterr().out == f"{expected['label'].tolist()}\n"
    assert answers.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(answers[name], values, atol=1e-4)


def test_the_readmes_image_becomes_what_the_loader_makes_of_it(exported, monkeypatch, tmp_path):
    bundle = exported["digits_cnn"]
    monkeypatch.chdir(bundle)
    wide = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    code = parts_of(bundle)["An image of your own"].code
    for path in ("examples/00.png", str(tmp_path / "wide.png")):
        made = run_program(code.replace("examples/00.png", path))["inputs"]["image"]
        np.testing.assert_array_equal(made[0], loader.load_bundle(bundle).decode(path))


def test_the_readmes_text_becomes_what_the_loader_makes_of_it(exported, monkeypatch):
    bundle = exported["trec_cnn"]
    monkeypatch.chdir(bundle)
    text = json.loads(Path("examples/texts.json").read_text())[3]["texts"][0]
    code = parts_of(bundle)["A text of your own"].code.replace('"the text"', json.dumps(text))
    made, (wanted, _) = run_program(code)["inputs"], loader.load_bundle(bundle).encode(text)
    assert made.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(made[name][0], values)
        assert made[name].dtype == values.dtype


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_sbom_is_one_of_cyclonedx_and_lists_the_files_that_are_there(exported, recipe):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (exported[recipe] / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    manifest = json.loads((exported[recipe] / "manifest.json").read_text())
    digests = {f["path"]: f["sha256"] for f in manifest["files"]}
    listed = {
        c["name"]: c["hashes"][0]["content"] for c in bom["components"] if c["type"] == "file"
    }
    assert listed.items() <= digests.items()
    assert {"weights.safetensors", "model.onnx"} <= listed.keys()
    card = bom["metadata"]["component"]["modelCard"]
    results = json.loads((exported[recipe] / "metrics.json").read_text())
    told = {(m["slice"], m["type"]): m for m in card["quantitativeAnalysis"]["performanceMetrics"]}
    accuracy = told["test", "accuracy"]
    assert float(accuracy["value"]) == pytest.approx(results["test"]["accuracy"], rel=1e-5)
    ends = accuracy["confidenceInterval"]
    assert float(ends["lowerBound"]) < float(accuracy["value"]) < float(ends["upperBound"])


def test_the_model_card_holds_the_numbers_of_the_record_and_says_what_is_not_known(exported):
    bundle = exported["digits_cnn"]
    card, results = (
        (bundle / "model_card.md").read_text(),
        json.loads((bundle / "metrics.json").read_text())["test"],
    )
    assert f"| test | accuracy | {results['accuracy']:.4f} | [" in card
    assert f"| test | loss | {results['loss']:.4f} |  |" in card
    for row in results["per_class"]:
        assert re.search(rf"^\| {row['name']} \| {row['f1']:.4f} \|", card, re.M)
    lineage = json.loads((bundle / "lineage.json").read_text())
    assert lineage["config_fingerprint"] in card
    assert "Licence of the data: not recorded" in card
    # The card and a gate say the same of the same answers.
    seen = Evidence(bundle, "m/1")
    found = judge_by_gate(CONDITIONS, seen)
    numbers = r"is (\S+)(?: \(.*\))?, 95 % interval (\S+) to (\S+)$"
    for finding, row in zip(found, ROWS, strict=True):
        of_gate = [float(x) for x in re.search(numbers, finding.said).groups()]
        of_card = [float(x) for x in re.search(row, card, re.M).groups()]
        np.testing.assert_allclose(of_card, of_gate, rtol=0.01, atol=5e-5)  # it rounds


def test_the_documents_are_covered_by_the_manifest(exported):
    bundle = exported["digits_cnn"]
    for name in ("README.md", "model_card.md", "sbom.json"):
        flip(bundle / name)
        assert any(f.startswith(name) for f in loader.find_faults(bundle))
        flip(bundle / name)
    assert not loader.find_faults(bundle)
    assert (bundle / EXAMPLES_FILE).exists()


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 2,000 drawn test sets about 95 % have an interval around the true value."""
    chance = np.random.default_rng(1)
    true_confusion = np.array([[0.4, 0.1], [0.15, 0.35]])
    hits = chance.binomial(100, 0.75, 2000)
    ends = np.array([wilson_interval(int(h), 100) for h in hits])
    covered = ((ends[:, 0] <= 0.75) & (ends[:, 1] >= 0.75)).mean()
    assert 0.93 < covered < 0.97
    inside, rounds = 0, 60
    for _ in range(rounds):
        confusion = chance.multinomial(400, true_confusion.ravel()).reshape(2, 2)
        told = {p.metric: p for p in list_performances({"test": _measured(confusion)})}
        low, high = told["recall"].interval
        inside += low <= (0.4 / 0.5 + 0.35 / 0.5) / 2 <= high
        assert low <= told["recall"].value <= high
    assert inside >= rounds * 0.85


def _measured(confusion: np.ndarray) -> dict[str, Any]:
    recall = (confusion.diagonal() / confusion.sum(1)).mean()
    accuracy = confusion.trace() / confusion.sum()
    return {"accuracy": accuracy, "recall": recall, "confusion": confusion.tolist()}
