"""A bundle's ONNX program: it answers without jax, is judged, and its absence has a reason."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest

from lepton_jax.export import mlflow_model
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.verify import verify_bundle
from lepton_jax.serving import loader
from tests.graduation import rewrite_manifest, trained_run

ANSWER_WITHOUT_JAX = """
import json, sys
sys.path.insert(0, sys.argv[1])
from copied import loader
import numpy as np
bundle = loader.load_bundle(sys.argv[2], program="onnx")
answers = bundle.predict({"image": np.load(sys.argv[3])})
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([answers["label"].tolist(), sorted(loaded & {"jax", "lepton_jax", "onnx"})]))
"""


def test_onnxruntime_alone_answers_as_the_model_does(bundle: Path, tmp_path: Path):
    run = trained_run(bundle)
    image = run.splits["test"].columns["image"][:33]
    np.save(tmp_path / "image.npy", image)
    shutil.copytree(Path(loader.__file__).parent, tmp_path / "copied")
    command = [sys.executable, "-c", ANSWER_WITHOUT_JAX, str(tmp_path), str(bundle)]
    ran = subprocess.run(
        [*command, str(tmp_path / "image.npy")], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    labels, loaded = json.loads(ran.stdout)
    assert labels == np.asarray(run.forward(run.weights, {"image": image})["label"]).tolist()
    assert loaded == []


def test_weights_are_stored_once(bundle: Path):
    program = onnx.load(bundle / "model.onnx", load_external_data=False)
    assert {"hidden.kernel", "out.bias"} <= {t.name for t in program.graph.initializer}
    for tensor in program.graph.initializer:
        if tensor.name in trained_run(bundle).weights:
            where = {e.key: e.value for e in tensor.external_data}
            assert where["location"] == "weights.safetensors"
    assert (bundle / "model.onnx").stat().st_size < 4_000
    onnx.checker.check_model(str(bundle / "model.onnx"), full_check=True)


def test_the_signature_and_the_verdict_say_what_the_program_is(bundle: Path):
    signature = json.loads((bundle / "signature.json").read_bytes())
    program = onnx.load(bundle / "model.onnx", load_external_data=False)
    said = signature["programs"]["onnx"]
    assert said["opset"] == program.opset_import[0].version
    assert said["ir_version"] == program.ir_version
    assert said["producer"] == f"{program.producer_name} {program.producer_version}"
    assert list(said["inputs"].values()) == [i.name for i in program.graph.input]
    assert set(said["outputs"].values()) == {o.name for o in program.graph.output}
    verdict = json.loads((bundle / loader.VERDICT).read_bytes())
    assert verdict["seconds"].keys() == {"onnx", "stablehlo"}
    for faster in ("onnx", "stablehlo"):
        found = verdict | {"default_program_on_cpu": faster}
        (bundle / loader.VERDICT).write_text(json.dumps(found))
        assert loader.find_default_program(bundle) == faster
    assert verdict["exact_sizes"]["onnx"]
    (bundle / loader.VERDICT).unlink()
    assert loader.find_default_program(bundle) == "onnx"  # without a verdict


def test_two_exports_give_the_same_program(bundle: Path, tmp_path: Path):
    export_bundle(trained_run(tmp_path), str(tmp_path / "again"))
    assert (tmp_path / "again/model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()


def test_a_program_that_answers_otherwise_is_refused(bundle: Path):
    program = onnx.load(bundle / "model.onnx", load_external_data=False)
    nodes = program.graph.node
    next(node for node in nodes if node.op_type == "ArgMax").op_type = "ArgMin"
    (bundle / "model.onnx").write_bytes(program.SerializeToString())
    rewrite_manifest(bundle)
    verdict = verify_bundle(str(bundle))
    wrong = {c.name: c.detail for c in verdict.checks if c.ok is False}
    assert wrong.keys() == {"onnx"}
    assert "'label' differs in" in wrong["onnx"]
    assert verdict.seconds.keys() == {"stablehlo"}


def test_a_program_that_cannot_be_read_is_refused(bundle: Path):
    (bundle / "model.onnx").write_bytes(b"no program")
    rewrite_manifest(bundle)
    failed = [c for c in verify_bundle(str(bundle)).checks if c.ok is False]
    assert [c.name for c in failed] == ["onnx"]
    assert "model.onnx is refused: it is no ONNX" in failed[0].detail


def test_what_onnx_cannot_carry_is_said_in_the_signature(tmp_path: Path):
    run = trained_run(tmp_path)

    def forward(weights, inputs):
        answers = run.forward(weights, inputs)
        nothing = jax.lax.lgamma(answers["probabilities"] + 1) * 0
        return {**answers, "probabilities": answers["probabilities"] + nothing}

    out = tmp_path / "bundle"
    export_bundle(dataclasses.replace(run, forward=jax.jit(forward)), str(out))
    said = json.loads((out / "signature.json").read_bytes())["programs"]["onnx"]
    assert said.keys() == {"unavailable"}
    assert said["unavailable"].startswith("the primitive 'lgamma' (test_program.py:")
    assert not (out / "model.onnx").exists()
    assert not (out / "MLmodel").exists()  # it would name the program
    with pytest.raises(loader.BundleError, match="has no program 'onnx': the primitive 'lgamma'"):
        loader.load_bundle(out, program="onnx")
    verdict = verify_bundle(str(out))
    assert verdict.ok
    assert {c.name: c.ok for c in verdict.checks}["onnx"] is None


def test_a_bundle_without_the_program_is_read_as_before(bundle: Path):
    signature = json.loads((bundle / "signature.json").read_bytes())
    del signature["programs"]["onnx"]
    (bundle / "signature.json").write_text(json.dumps(signature))
    for name in ("model.onnx", *mlflow_model.FILES):
        (bundle / name).unlink()
    rewrite_manifest(bundle)
    verdict = verify_bundle(str(bundle))
    assert verdict.ok
    assert "onnx" not in {c.name for c in verdict.checks}
    assert verdict.exact_sizes.keys() == {"stablehlo"}
    assert verdict.exact_sizes["stablehlo"]
    assert loader.find_default_program(bundle) == "stablehlo"
    with pytest.raises(loader.BundleError, match="has no program 'onnx'; there are: stablehlo"):
        loader.load_bundle(bundle, program="onnx")
