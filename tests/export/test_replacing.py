"""What an export finds where its bundle is to go: replaced, or refused in a sentence."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from lepton_jax.errors import UserError
from lepton_jax.export import formats
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.exportable import find_chain
from lepton_jax.serving import loader
from lepton_jax.tracking.chain import Basis, Chain
from lepton_jax.tracking.state_chain import StateFile
from tests.graduation import CONFIG, rewrite_manifest, trained_run


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def of_another_config(run):
    config = {**CONFIG, "model": {"name": "another"}}
    return dataclasses.replace(run, config=config, fingerprint="ffffffffffff")


def of_other_data(run):
    return dataclasses.replace(run, data_fingerprint="other")


@pytest.mark.parametrize("other", [of_another_config, of_other_data])
def test_bundle_of_another_run_is_replaced_only_when_asked(bundle, other):
    before = snapshot(bundle)
    run = other(trained_run(bundle, 20))
    said = rf"another run, {loader.bundle_id(bundle)[:19]} \(step 150, verified\).*--replace"
    with pytest.raises(UserError, match=said):
        export_bundle(run, str(bundle))
    assert snapshot(bundle) == before
    assert export_bundle(run, str(bundle), True).id == loader.bundle_id(bundle)


def test_verified_bundle_of_the_same_run_is_replaced_and_it_is_said(bundle, capsys):
    run = trained_run(bundle, 20)
    export_bundle(run, str(bundle))
    assert "verified) of the same run" in capsys.readouterr().err
    export_bundle(run, str(bundle))
    assert capsys.readouterr().err == ""  # not verified: nothing is lost


def recorded_run(workdir: Path, train_for: str, losses: dict[int, float]):
    """A run of these losses by their steps, with a record of the states that it saved."""
    states, lines = StateFile(str(workdir)), list[bytes]()
    workdir.mkdir()
    for step, loss in losses.items():
        lines.append(json.dumps({"step": step, "train/loss": loss}).encode() + b"\n")
        rows = Chain().digest(lines, len(lines))
        leaves = {"w": hashlib.sha256(repr(loss).encode()).hexdigest()}
        states.add(Basis(step, len(lines), rows, b"".join(lines).decode(), {}), leaves)
    run = dataclasses.replace(
        trained_run(workdir), config={**CONFIG, "train_for": train_for}, fingerprint=train_for
    )
    return dataclasses.replace(run, step=max(losses), chain=find_chain(str(workdir), max(losses)))


def test_only_a_run_that_went_on_replaces_a_bundle_of_a_shorter_one(tmp_path):
    out = tmp_path / "bundle"
    export_bundle(recorded_run(tmp_path / "run", "150 steps", {100: 0.5, 150: 0.4}), str(out))
    fewer = recorded_run(tmp_path / "fewer", "100 steps", {100: 0.5})
    others = recorded_run(tmp_path / "others", "200 steps", {100: 0.5, 150: 0.3, 200: 0.2})
    again = recorded_run(tmp_path / "again", "150 steps", {100: 0.5, 150: 0.3})
    for other in (fewer, others, again):
        with pytest.raises(UserError, match="another run"):
            export_bundle(other, str(out))
    longer = recorded_run(tmp_path / "longer", "200 steps", {100: 0.5, 150: 0.4, 200: 0.3})
    export_bundle(longer, str(out))
    assert loader.read_object(out, "lineage.json")["step"] == 200


def test_damaged_bundle_is_replaced(bundle):
    (bundle / "lineage.json").write_text("[")
    assert export_bundle(trained_run(bundle), str(bundle)).id == loader.bundle_id(bundle)
    assert loader.find_faults(bundle) == []


def manifest_of_something_else(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"name": "a web page", "icons": []}')
    (folder / "index.html").write_text("mine")


def half_a_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": [')


def linked_manifest(folder: Path) -> None:
    (folder / "manifest.json").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "fill", [manifest_of_something_else, half_a_manifest, linked_manifest], ids=lambda f: f.__name__
)
def test_folder_that_only_looks_like_a_bundle_is_left_alone(tmp_path, fill):
    out = tmp_path / "mine"
    out.mkdir()
    fill(out)
    before = snapshot(out)
    with pytest.raises(UserError, match="is no bundle"):
        export_bundle(trained_run(tmp_path), str(out), True)
    assert snapshot(out) == before


def test_files_of_the_users_own_in_a_bundle_are_not_lost(bundle):
    (bundle / "notes.txt").write_text("weeks of it")
    with pytest.raises(UserError, match=r"holds notes\.txt, which would be lost"):
        export_bundle(trained_run(bundle), str(bundle), True)
    assert (bundle / "notes.txt").read_text() == "weeks of it"


def test_out_that_is_a_file_is_left_alone(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        export_bundle(trained_run(tmp_path), str(tmp_path / "x"), True)
    assert (tmp_path / "x").read_text() == "mine"


def test_out_that_is_a_link_to_a_bundle_stays_one(bundle):
    link = bundle.parent / "latest"
    link.symlink_to(bundle)
    export_bundle(trained_run(bundle, 20), str(link))
    assert link.is_symlink()
    assert not (bundle / loader.VERDICT).exists()


def test_permissions_are_those_that_the_umask_leaves(tmp_path):
    import os

    old = os.umask(0o077)
    try:
        export_bundle(trained_run(tmp_path), str(tmp_path / "b"))
    finally:
        os.umask(old)
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    assert (tmp_path / "b/signature.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("epoch", ["abc", "nan", "1e30", "-1e30"])
def test_source_date_epoch_that_is_no_date_is_named(tmp_path, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(UserError, match=r"SOURCE_DATE_EPOCH=.*expected seconds since 1970"):
        export_bundle(trained_run(tmp_path), str(tmp_path / "b"))


def test_lineage_that_forges_its_shape_is_another_run(bundle):
    lineage = json.loads((bundle / "lineage.json").read_text())
    lineage["config"] = ["not", "a", "config"]
    lineage["config_fingerprint"] = {"a": 1}
    (bundle / "lineage.json").write_text(json.dumps(lineage))
    rewrite_manifest(bundle)
    with pytest.raises(UserError, match="another run"):
        export_bundle(trained_run(bundle), str(bundle))


def test_weights_of_others_are_written_over_only_when_asked(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["B"]}')
    (tmp_path / "model.safetensors").write_bytes(b"of someone")
    (tmp_path / "adapters.safetensors").write_bytes(b"of someone")

    class Config:
        lora = True

    class Run:
        class program:  # noqa: N801
            config = Config

        class state:  # noqa: N801
            learner = None

        workdir = "w"

    with pytest.raises(UserError, match=r"holds weights already.*--replace"):
        formats.export_hugging_face(Run, str(tmp_path))
    with pytest.raises(UserError, match=r"exists.*--replace"):
        formats.export_adapters(Run, str(tmp_path / "adapters.safetensors"))
