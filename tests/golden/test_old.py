"""What commit 8f375ea left behind goes on here: runs, an experiment and bundles, bit for bit.

`tests/golden/make_old.py` says what lies in `old/`, and how it was made.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden import shapes
from tests.golden.compare import assert_golden, golden
from tests.golden.door import ROOT, inside, json_of, launch
from tests.golden.make_old import ASKED, OLD, machine_of_bits

EXPECTED = OLD / "expected"
SAME_BITS = machine_of_bits() == json.loads((EXPECTED / "machine.json").read_bytes())
"""Whether this machine computes as that one did; if not, numbers are compared to a per cent."""

BUNDLES = ("bundle", "bundle_text")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """Makes a copy of `old/`, with the recipes beside it, the current folder."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    (folder / "configs").symlink_to(ROOT / "configs")
    with inside(folder):
        yield folder


def rows(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_same_metrics(workdir: Path, expected: str, averaged: bool = True) -> None:
    """Fails unless the metrics are what the run, resumed by its own commit, came to.

    `averaged`: its recipe has an `ema`, of which that commit kept more in the first steps. So what
    trains is the same to the bit, and what is measured of the average is near.
    """
    now, was = workdir / "metrics.jsonl", EXPECTED / expected
    if SAME_BITS and not averaged:
        assert now.read_bytes() == was.read_bytes()
        return
    if SAME_BITS:
        for a, b in zip(rows(now), rows(was), strict=True):
            of_average = {k for k in a if k.startswith("valid/")}
            assert {k: a[k] for k in a.keys() - of_average} == {
                k: b[k] for k in b.keys() - of_average
            }
            assert [a[k] for k in of_average] == pytest.approx([b[k] for k in of_average], rel=0.2)
        return
    for a, b in zip(rows(now), rows(was), strict=True):
        assert a.keys() == b.keys()
        assert a["step"] == b["step"]
        near = [k for k in a if k.endswith("loss")]
        assert {k: a[k] for k in near} == pytest.approx({k: b[k] for k in near}, rel=1e-2)


def resumed(workdir: Path) -> Any:
    """Takes a record to its end by the command that it names; returns what `train` says."""
    said = launch("train", f"--config={workdir}/config.json", f"--workdir={workdir}", "--json")
    assert said.code == 0, said.err
    assert "going on from step 16 of 60" in said.err
    return json.loads(said.out)


def assert_shape(name: str, printed: Any) -> None:
    """Fails unless what was printed has the structure of that entry of the golden file."""
    assert_golden(golden("json_shapes")[name], shapes.shape(printed), "json_shapes")


def test_an_unfinished_record_resumes_to_its_end(old: Path):
    run = resumed(old / "unfinished")
    assert_shape("train: class", run)
    assert run["step"] == 60
    assert_same_metrics(old / "unfinished", "unfinished.jsonl")
    if SAME_BITS:
        finished = json.loads((OLD / "finished/results.json").read_bytes())["test"]
        assert run["results"]["test"]["loss"] == pytest.approx(finished["loss"], rel=1e-2)


@pytest.mark.slow
def test_an_unfinished_record_of_texts_with_a_carried_state_resumes_to_its_end(old: Path):
    resumed(old / "carried")
    assert_same_metrics(old / "carried", "carried.jsonl", averaged=False)


def test_a_finished_record_is_listed_and_has_nothing_left_to_do(old: Path):
    listed = {row["name"]: row for row in json_of("runs", ".", "--where=optimizer.name=adamw")}
    assert listed["finished"]["state"] == "finished"
    assert listed["unfinished"]["state"] == "stopped"
    before = (old / "finished/metrics.jsonl").read_bytes()
    said = launch("train", "--config=finished/config.json", "--workdir=finished")
    assert said.code == 0, said.err
    assert (old / "finished/metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_finished_record_evaluates_exports_and_verifies(old: Path):
    recorded = json.loads((old / "finished/results.json").read_bytes())["test"]
    measured = json_of("evaluate", "--workdir=finished")
    assert_shape("evaluate", measured)
    assert measured["results"]["loss"] == pytest.approx(recorded["loss"], rel=1e-5)
    assert measured["results"]["confusion"] == recorded["confusion"]
    json_of("export", "--workdir=finished", "--out=new")
    was, now = (shapes.bundle(old / name) for name in ("bundle", "new"))
    for said in (was, now):
        del said["lineage.json"]["config"]  # its keys have grown: configs.json says which there are
    # Bundles had no ONNX, no documents, no day until which the program is promised, and their
    # lineage had less of the record.
    for key in ("chain", "components", "seed", "variables", "visible_cpus"):
        del now["lineage.json"][key]
    del now["signature.json"]["batch_axis"]
    del now["signature.json"]["decoding"]["resize"]
    del now["signature.json"]["programs"]["onnx"]
    del now["signature.json"]["programs"]["stablehlo"]["promised_until"]
    there = {f["path"] for f in was["manifest.json"]["files"]}
    files = now["manifest.json"]["files"]
    assert there <= {f["path"] for f in files}
    now["manifest.json"]["files"] = [f for f in files if f["path"] in there]
    assert_golden(was, now, "bundle")
    exact = ("weights.safetensors", "examples/00.png")
    for name in (*exact, "metrics.json") if SAME_BITS else exact:
        assert (old / "new" / name).read_bytes() == (old / "bundle" / name).read_bytes()
    verdict = json_of("verify", "--bundle=new")
    assert_shape("verify: class", verdict)
    assert all(check["ok"] for check in verdict["checks"])


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_answers_as_it_did(old: Path, name: str):
    was = json.loads((EXPECTED / f"{name}.json").read_bytes())
    now = json_of("predict", f"--bundle={name}", "--examples=4")
    assert now["id"] == was["id"]
    for a, b in zip(now["answers"], was["answers"], strict=True):
        assert {k: a[k] for k in ("input", "label", "truth")} == {
            k: b[k] for k in ("input", "label", "truth")
        }
        assert a["outputs"] == {
            k: pytest.approx(v, rel=1e-4, abs=1e-6) for k, v in b["outputs"].items()
        }


@pytest.mark.parametrize("name", ["bundle", pytest.param("bundle_text", marks=pytest.mark.slow)])
def test_a_bundle_verifies(old: Path, name: str):
    verdict = json_of("verify", f"--bundle={name}")
    assert verdict["id"] == json.loads((OLD / name / "verdict.json").read_bytes())["id"]
    was = json.loads((OLD / name / "verdict.json").read_bytes())["checks"]
    now = {c["name"]: c["ok"] for c in verdict["checks"]}
    assert {c["name"]: now.pop(c["name"]) for c in was} == {c["name"]: c["ok"] for c in was}
    assert False not in now.values()


def test_a_bundle_of_texts_goes_on_from_a_prompt(old: Path):
    flags = ("--prompt=a", "--tokens=4", "--temperature=0")
    of_bundle = json_of("generate", "--bundle=bundle_text", *flags)
    assert_shape("generate --bundle", of_bundle)
    assert len(of_bundle["text"]) == 5


def test_an_experiment_that_was_stopped_is_watched(old: Path):
    found = json_of("watch", "--workdir=experiment")
    assert found.keys() == golden("json_shapes")["watch"].keys()
    assert found["states"] == {"finished": 4, "lost": 4}


@pytest.mark.slow
def test_an_experiment_that_was_stopped_goes_on_and_reports(old: Path):
    done = json_of("ablate", *ASKED, "--workdir=experiment")
    assert done["states"] == {"finished": 8}
    for trial in (old / "experiment/trials").iterdir():
        assert_same_metrics(trial, f"{trial.name}.jsonl")
    assert (old / "experiment/report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_a_bundle_enters_the_registry_by_its_old_verdict(old: Path):
    with inside(old, {"LEPTON_JAX_REGISTRY": str(old / "registry")}):
        json_of("register", "--bundle=bundle", "--model=old")
        for alias in ("staging", "production"):
            assert json_of("promote", "--model=old", f"--to={alias}")["ok"]
        answered = json_of("predict", "--model=old@production", "--examples=2")
    assert len(answered["answers"]) == 2
