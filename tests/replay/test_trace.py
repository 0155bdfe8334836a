"""The way back from a model: to the record, the code and the command; and the weights again."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lepton_jax
from lepton_jax.errors import UserError
from lepton_jax.export.exportable import find_chain
from lepton_jax.replay import rebuild
from lepton_jax.replay.trace import trace_bundle
from lepton_jax.serving import loader
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import list_steps
from tests import graduation
from tests.hostile import ODD, places
from tests.registry.tiny import tiny_bundle

CONFIG: dict[str, Any] = {
    "model": {"name": "mlp", "features": (8,)},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "generated_images", "classes": 4, "examples": 150}},
    "optimizer": {"name": "sgd", "learning_rate": 1e-2},
    **{"batch_size": 16, "train_for": "20 steps", "evaluate_every": "10 steps"},
    **{"checkpoint_every": "10 steps", "log_every": "10 steps", "writers": {}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_run: Callable[[str], Path]) -> Path:
    """A folder with the `bundle` of a recipe's tiny run, and a link `runs` to it and others."""
    folder = tmp_path_factory.mktemp("made")
    workdir = tiny_run("digits_cnn")
    (folder / "runs").symlink_to(workdir.parent)
    bundle = tiny_bundle(folder / "bundle")
    record = Record.open(str(workdir), writes=False)
    provenance, step = record.provenance(), list_steps(str(workdir))[-1]
    kept = ("package", "packages", "code", "harness_code", "fingerprint", "data_fingerprint")
    said = {k: provenance[k] for k in kept}
    chain = find_chain(str(workdir), step)
    lineage_of(bundle, **said, config=record.config(), step=step, chain=chain)
    return folder


def lineage_of(bundle: Path, **changed: Any) -> Path:
    said = json.loads((bundle / "lineage.json").read_text())
    (bundle / "lineage.json").write_text(json.dumps({**said, **changed}))
    graduation.rewrite_manifest(bundle)
    return bundle


def test_bundle_leads_to_its_own_run_and_the_command(made):
    found = trace_bundle(str(made / "bundle"), str(made / "runs"))
    assert found.workdir == str(made / "runs/digits_cnn")
    provenance = json.loads((made / "runs/digits_cnn/provenance.json").read_text())
    assert found.command == provenance["command"]
    assert found.same_code
    said = str(found)
    assert f"step {found.step} of " in said
    assert "lepton_jax as it is here" in said
    assert "trace --bundle=" in said.splitlines()[-1]


def test_without_the_record_the_bundle_says_what_it_knows(made, tmp_path):
    found = trace_bundle(str(made / "bundle"), str(tmp_path))
    assert found.workdir == ""
    assert "of a run whose record is not here" in str(found)
    assert found.lineage["config"]["model"]["name"] == "cnn"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config": {"data": {"source": {"path": "<path>"}}}}, "left out there .<path>."),
        ({"package": "0", "code": {"commit": "--upload-pack=x"}}, "which is not in the git"),
        ({"package": "0", "code": {"commit": "c" * 40}}, "which is not in the git"),
        ({"package": "0", "code": {"commit": "c" * 40, "diff_sha256": "d"}}, "uncommitted changes"),
    ],
)
def test_what_no_bundle_carries_is_asked_for(made, tmp_path, monkeypatch, changed, said):
    monkeypatch.setattr(rebuild, "run_code", lambda *_: pytest.fail("it was run"))
    bundle = lineage_of(shutil.copytree(made / "bundle", tmp_path / "bundle"), **changed)
    with pytest.raises(UserError, match=said):
        lepton_jax.trace(bundle=str(bundle), rebuild=True, out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_code_that_a_bundle_names_is_not_run(made, tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild, "run_code", lambda *_: pytest.fail("it was run"))
    config = json.loads((made / "bundle/lineage.json").read_text())["config"]
    config["model"] = {"name": "module_of_a_forger:Net"}
    (tmp_path / "module_of_a_forger.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle = shutil.copytree(made / "bundle", tmp_path / "bundle")
    with pytest.raises(UserError, match=r"names code of a user's own .module_of_a_forger."):
        lepton_jax.trace(
            bundle=str(lineage_of(bundle, config=config)), rebuild=True, out=str(tmp_path / "out")
        )
    assert not (tmp_path / "ran").exists()


def test_bundle_that_says_nothing_of_its_making_is_named(tmp_path):
    with pytest.raises(lepton_jax.WorkError, match="says nothing of its making"):
        lepton_jax.trace(bundle=str(tiny_bundle(tmp_path / "bundle")))


@pytest.mark.parametrize("seed", range(15))
def test_lineage_with_an_odd_value_is_shown_or_refused_in_a_sentence(made, tmp_path, seed):
    rng = random.Random(seed)
    bundle = shutil.copytree(made / "bundle", tmp_path / "bundle")
    said = json.loads((bundle / "lineage.json").read_text())
    container, key = rng.choice([p for p in places(said) if p[0] is said or rng.random() < 0.1])
    container[key] = rng.choice([v for v in ODD if v == v])
    try:
        shown = str(trace_bundle(str(lineage_of(bundle, **said)), str(made / "runs")))
    except lepton_jax.WorkError as e:
        shown = str(e)
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.slow
def test_production_is_rebuilt_byte_for_byte_and_a_changed_weight_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("XLA_FLAGS", "")
    run, bundle = str(tmp_path / "runs/a"), str(tmp_path / "bundle")
    lepton_jax.train(CONFIG, run)
    lepton_jax.export(run, bundle, checkpoint="last")
    assert lepton_jax.verify(bundle).ok
    lepton_jax.register(bundle, "m")
    lepton_jax.promote(model="m", to="production")
    found = lepton_jax.trace(["m@production"], runs=str(tmp_path / "runs"))
    assert "m/1, registered" in str(found)
    assert "promote nothing -> version 1" in str(found)
    # The run was computed with this suite's XLA_FLAGS, so the comparison is of two rebuilt ones.
    first = lepton_jax.trace(["m@production"], rebuild=True, out=str(tmp_path / "first"))
    again = lepton_jax.trace(bundle=first.bundle, rebuild=True, out=str(tmp_path / "again"))
    assert again.same
    assert again.same_chain
    assert "The weights are the same, byte for byte" in str(again)
    forged = shutil.copytree(first.bundle, tmp_path / "forged")
    graduation.flip(forged / loader.WEIGHTS)
    graduation.rewrite_manifest(forged)
    other = lepton_jax.trace(bundle=str(forged), rebuild=True, out=str(tmp_path / "third"))
    assert not other.ok
    assert len(other.arrays) == 1
