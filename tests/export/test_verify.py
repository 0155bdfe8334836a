import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lepton_jax import api
from lepton_jax.data.sources.tfds import tfds
from lepton_jax.errors import UserError, WorkError
from lepton_jax.evaluation.answered import ANSWERED, parse_answered
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.heldout import _as_declared, load_test_set
from lepton_jax.export.mlflow_model import find_foreign
from lepton_jax.export.verify import verify_bundle
from lepton_jax.isolation import clean_process
from lepton_jax.serving import loader
from tests.graduation import flip, rewrite_manifest, trained_run


def failed(verdict):
    return {c.name: c.detail for c in verdict.checks if c.ok is False}


def test_verdict_names_the_id_and_does_not_change_it(bundle):
    (bundle / loader.VERDICT).unlink()
    before = loader.bundle_id(bundle)
    verdict = verify_bundle(str(bundle))
    assert verdict.ok
    assert {c.name: c.ok for c in verdict.checks} == {
        "intact": True,
        "isolated": True,
        "answers": True,
        "one alone": True,
        "onnx": True,
        "drift": True,
        "test set": True,
        "each example": True,
    }
    assert verdict.id == before == loader.bundle_id(bundle)
    assert json.loads((bundle / loader.VERDICT).read_text()) == json.loads(
        json.dumps(verdict.as_json())
    )
    assert str(verdict).splitlines()[-1].endswith(f"register --bundle={bundle} --model=NAME")


@pytest.mark.parametrize("file", ["weights.safetensors", "programs/stablehlo/forward.bin"])
def test_flipped_byte_fails(bundle, file):
    flip(bundle / file)
    verdict = verify_bundle(str(bundle))
    assert "SHA-256 differs" in failed(verdict)["intact"]
    assert file in str(verdict)
    assert json.loads((bundle / loader.VERDICT).read_text())["ok"] is False


def test_missing_file_fails(bundle):
    (bundle / "examples/03.png").unlink()
    assert failed(verify_bundle(str(bundle))) == {"intact": "examples/03.png: missing"}


def test_extra_file_fails(bundle):
    (bundle / "programs/extra.bin").write_bytes(b"x")
    assert failed(verify_bundle(str(bundle))) == {
        "intact": "programs/extra.bin: not listed in the manifest"
    }


@pytest.mark.parametrize(
    ("file", "was", "forged"),
    [
        ("MLmodel", b'"mlflow.onnx"', b'"my_loader"'),
        ("MLmodel", b'"code": null', b'"code": "code"'),
        ("requirements.txt", b"pandas", b"pandaz"),
    ],
)
def test_files_that_would_lead_mlflow_to_code_are_found(bundle, file, was, forged):
    content = (bundle / file).read_bytes()
    assert was in content
    (bundle / file).write_bytes(content.replace(was, forged))
    assert find_foreign(bundle, json.loads((bundle / "signature.json").read_text())) == [file]


def test_files_that_would_lead_mlflow_to_code_fail(bundle):
    content = (bundle / "MLmodel").read_bytes()
    (bundle / "MLmodel").write_bytes(content.replace(b'"mlflow.onnx"', b'"my_loader"'))
    rewrite_manifest(bundle)
    assert failed(verify_bundle(str(bundle))) == {"mlflow": "MLmodel: not as an export writes it"}


def test_link_out_of_the_bundle_fails(bundle, tmp_path):
    weights = (bundle / "weights.safetensors").rename(tmp_path / "elsewhere")
    (bundle / "weights.safetensors").symlink_to(weights)
    assert failed(verify_bundle(str(bundle))) == {"intact": "weights.safetensors: is a link"}


def test_manifest_that_lists_what_lies_outside_fails(bundle, tmp_path):
    (tmp_path / "outside").write_text("x")
    paths = [f["path"] for f in json.loads((bundle / loader.MANIFEST).read_text())["files"]]
    forged = json.loads(loader.manifest_bytes(bundle, paths))
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    forged["files"].insert(0, {"path": "../outside", "sha256": digest, "size": 1})
    text = json.dumps(forged, indent=1, sort_keys=True) + "\n"
    (bundle / loader.MANIFEST).write_text(text)
    assert failed(verify_bundle(str(bundle))) == {"intact": "../outside: missing"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + b"\n",
        lambda text: text.replace(b'"size": ', b'"size": 1', 1),
        lambda text: text.replace(b'"sha256": "', b'"sha256": "0', 1),
        lambda text: text.replace(b"weights.safe", b"weights2.safe"),
    ],
)
def test_edited_manifest_fails(bundle, edit):
    path = bundle / loader.MANIFEST
    path.write_bytes(edit(path.read_bytes()))
    assert "intact" in failed(verify_bundle(str(bundle)))


def test_newer_format_fails_and_says_what_to_do(bundle):
    path = bundle / loader.MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"format_version": 1', b'"format_version": 2'))
    assert (
        "format 2, but this loader reads up to 1; update"
        in failed(verify_bundle(str(bundle)))["intact"]
    )


@pytest.mark.parametrize("length", [0, 1, 40])
def test_truncated_manifest_fails(bundle, length):
    path = bundle / loader.MANIFEST
    path.write_bytes(path.read_bytes()[:length])
    assert "manifest.json: is not JSON" in failed(verify_bundle(str(bundle)))["intact"]


@pytest.mark.parametrize("text", ["[]", "null", '{"format_version": 1}', "[" * 100_000])
def test_manifest_of_another_kind_fails(bundle, text):
    (bundle / loader.MANIFEST).write_text(text)
    assert "intact" in failed(verify_bundle(str(bundle)))


@pytest.mark.parametrize("file", ["signature.json", "metrics.json", "lineage.json"])
@pytest.mark.parametrize("text", ['{"inputs": ', "[]", "{}"])
def test_other_json_that_is_nonsense_under_a_good_manifest_fails(bundle, file, text):
    (bundle / file).write_text(text)
    rewrite_manifest(bundle)
    verdict = verify_bundle(str(bundle))
    if text == "{}" and file == "metrics.json":
        assert verdict.ok  # nothing measured is nothing claimed: a gate's business
    elif text == "{}" and file == "lineage.json":
        unseen = [c.name for c in verdict.checks if c.ok is None]
        assert unseen == ["test set", "each example"]
    else:
        assert failed(verdict)


@pytest.mark.parametrize("file", ["weights.safetensors", "programs/stablehlo/forward.bin"])
def test_truncated_payload_under_a_good_manifest_fails(bundle, file):
    (bundle / file).write_bytes((bundle / file).read_bytes()[:100])
    rewrite_manifest(bundle)
    assert failed(verify_bundle(str(bundle)))


def test_weights_of_other_answers_fail(bundle):
    weights = load_file(bundle / "weights.safetensors")
    weights["out.bias"] = weights["out.bias"] + np.linspace(0, 1e-2, 10, dtype=np.float32)
    save_file(weights, bundle / "weights.safetensors")
    rewrite_manifest(bundle)
    assert "is off by" in failed(verify_bundle(str(bundle)))["answers"]


def test_expected_answers_that_the_program_does_not_give_fail(bundle):
    path = bundle / "examples/examples.safetensors"
    examples = load_file(path)
    examples["outputs.label"][3] += 1
    save_file(examples, path)
    rewrite_manifest(bundle)
    assert "'label' differs in 1 of 16 places" in failed(verify_bundle(str(bundle)))["answers"]


def test_tolerance_is_not_the_bundles_to_widen(bundle):
    path = bundle / "signature.json"
    path.write_text(path.read_text().replace('"tolerance": 0.0001', '"tolerance": 1e9'))
    weights = load_file(bundle / "weights.safetensors")
    save_file({k: v * 0 for k, v in weights.items()}, bundle / "weights.safetensors")
    rewrite_manifest(bundle)
    assert "answers" in failed(verify_bundle(str(bundle)))


@pytest.mark.slow
def test_kept_answers_must_be_those_of_the_program(bundle):
    kept = parse_answered((bundle / ANSWERED).read_bytes())
    assert len(kept) == 360
    metrics = json.loads((bundle / "metrics.json").read_text())
    assert kept.right.mean() == metrics["test"]["accuracy"]
    better = dataclasses.replace(kept, answer=kept.label)
    (bundle / ANSWERED).write_bytes(better.as_bytes())
    rewrite_manifest(bundle)
    wrong = (~kept.right).sum()
    told = failed(verify_bundle(str(bundle)))["each example"]
    assert told == f"{360 - wrong} of 360 answers are as kept"


def test_claimed_accuracy_must_be_that_of_the_whole_test_set(bundle):
    metrics = json.loads((bundle / "metrics.json").read_text())
    metrics["test"]["accuracy"] += 1 / 360  # one example of 360
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    rewrite_manifest(bundle)
    assert "on all 360 examples" in failed(verify_bundle(str(bundle)))["test set"]


def from_source(**source):
    return {"config": {"data": {"source": source, "decode": ""}}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_fingerprint": "another"}, "not what the model was trained on"),
        (from_source(name="npz", path="<path>"), "give --workdir"),
        (from_source(name="os:system"), "runs no code that only a bundle names"),
        (from_source(name="nosuch"), "nosuch"),
    ],
)
def test_absent_or_other_test_data_is_said_and_not_guessed(bundle, change, reason):
    path = bundle / "lineage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found = load_test_set(bundle, None)
    assert isinstance(found, str)
    assert reason in found


def test_a_source_gets_its_keys_as_the_config_had_them():
    keys = {"dataset": "glue/sst2", "splits": ["train=train"], "label": "label", "data_dir": None}
    assert _as_declared(tfds, keys, True) == {**keys, "splits": ("train=train",)}


def test_the_fold_that_was_held_out_is_found_again(tmp_path):
    keys = {"data.folds": "5", "data.fold": "2", "train_for": "2 steps"}
    trained = api.train("configs/digits_cnn.py:tiny", str(tmp_path / "run"), overrides=keys)
    api.export(trained.workdir, str(tmp_path / "bundle"))
    found = load_test_set(tmp_path / "bundle", None)
    assert not isinstance(found, str), found
    assert len(found) == 102  # a fifth of the 512 of "train"; its own "test" has 128


def test_code_in_the_bundle_never_runs(bundle, monkeypatch):
    """Not even when the process stands in it and its files are called like what is imported."""
    ran = bundle.parent / "ran"
    for name in ("jax", "numpy", "loader", "sitecustomize", "usercustomize", "json", "PIL"):
        (bundle / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})")
    rewrite_manifest(bundle)
    monkeypatch.chdir(bundle)
    monkeypatch.setenv("PYTHONPATH", str(bundle))
    verdict = verify_bundle(str(bundle))
    assert verdict.ok, verdict
    assert not ran.exists()


def probed(bundle, tmp_path, monkeypatch, code):
    """The verdict of a loader that does what `code` says when it answers."""
    patched = shutil.copytree(Path(loader.__file__).parent, tmp_path / "copy") / "loader.py"
    source = patched.read_text()
    head = "    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:\n"
    assert head in source
    patched.write_text(source.replace(head, f"{head}        {code}\n"))
    monkeypatch.setattr(loader, "__file__", str(patched))
    return verify_bundle(str(bundle))


def test_lab_is_not_importable_where_bundles_are_verified(bundle, tmp_path, monkeypatch):
    packages = ("flax", "lepton_jax", "optax", "orbax", "sklearn", "pytest")
    for package in packages:
        __import__(package)  # it is here
    code = (
        "from importlib.util import find_spec; "
        f"raise BundleError(str([p for p in {packages} if find_spec(p)]))"
    )
    assert failed(probed(bundle, tmp_path, monkeypatch, code))["answers"] == "[]"


def test_package_that_leaks_into_the_process_fails(bundle, monkeypatch):
    monkeypatch.setattr(clean_process, "PACKAGES", (*clean_process.PACKAGES, "flax", "optax"))
    assert "flax" in failed(verify_bundle(str(bundle)))["isolated"]


def test_what_a_bundle_must_never_cause_is_refused_and_named(bundle, tmp_path, monkeypatch):
    tried = {
        "os.system": "import os; os.system('true')",
        "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
        "pickle.find_class": "import pickle; pickle.loads(pickle.dumps(Path))",
        "exec": "exec(compile('1', str(self.folder / 'x.py'), 'exec'))",
    }
    code = (
        f"\n        for line in {list(tried.values())}:"
        "\n            try: exec(line)"
        "\n            except PermissionError: pass"
    )
    said = failed(probed(bundle, tmp_path, monkeypatch, code))["isolated"].split("; ")
    assert {line.split()[0] for line in said} == tried.keys()


def test_nothing_of_the_callers_environment_reaches_the_process(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_TOKEN", "s3cret-value")
    code = "import os; raise BundleError(str(sorted(os.environ)))"
    seen = failed(probed(bundle, tmp_path, monkeypatch, code))["answers"]
    assert "JAX_PLATFORMS" in seen
    assert "TOKEN" not in seen


def test_folder_that_is_no_bundle_gets_no_verdict_file(tmp_path):
    verdict = verify_bundle(str(tmp_path))
    assert not verdict.ok
    assert "manifest.json is missing" in str(verdict)
    assert list(tmp_path.iterdir()) == []


def test_absent_folder_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        verify_bundle(str(tmp_path / "nowhere"))


def test_verdict_that_cannot_be_written_is_said(bundle):
    (bundle / loader.VERDICT).unlink()
    (bundle / loader.VERDICT).mkdir()
    with pytest.raises(WorkError, match=r"cannot write .*verdict\.json"):
        verify_bundle(str(bundle))


def test_process_that_dies_proves_nothing(bundle, tmp_path, monkeypatch):
    verdict = probed(bundle, tmp_path, monkeypatch, "import os; os._exit(3)")
    assert "ended 3" in failed(verdict)["isolated"]


def test_bfloat16_run_states_a_wider_tolerance_and_verifies(tmp_path):
    import jax
    import jax.numpy as jnp

    run = trained_run(tmp_path)
    exact = run.forward

    def halved(weights, inputs):
        cast = {k: v.astype(jnp.bfloat16).astype(v.dtype) for k, v in weights.items()}
        return exact(cast, inputs)

    said = jax.jit(halved)(run.weights, {"image": run.splits["test"].columns["image"]})["label"]
    accuracy = float((np.asarray(said) == run.splits["test"].columns["label"]).mean())
    results = {"test": {"accuracy": accuracy, "step": run.step}}
    run = dataclasses.replace(run, forward=halved, results=results)
    export_bundle(run, str(tmp_path / "bundle"))
    assert json.loads((tmp_path / "bundle/signature.json").read_text())["tolerance"] == 2e-2
    assert verify_bundle(str(tmp_path / "bundle")).ok


def test_float64_run_answers_in_float64(tmp_path):
    import jax

    run = trained_run(tmp_path)
    weights = {k: v.astype(np.float64) for k, v in run.weights.items()}
    run = dataclasses.replace(run, weights=weights)
    export_bundle(run, str(tmp_path / "bundle"))
    assert verify_bundle(str(tmp_path / "bundle")).ok
    assert not jax.config.jax_enable_x64
    bundle = loader.load_bundle(tmp_path / "bundle")
    image = bundle.examples()["inputs"]["image"]
    assert bundle.predict({"image": image})["probabilities"].dtype == np.float64
