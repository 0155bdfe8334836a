"""What a program may ask for: arrays, and the calls that JAX's own operations need."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from jax import export
from onnx import helper

from lepton_jax.serving import loader
from lepton_jax.serving.programs import read_arrays
from lepton_jax.serving.stablehlo import check_stablehlo
from tests.graduation import rewrite_manifest

IMAGE = {"image": np.zeros((1, 8, 8, 1), np.uint8)}
PROGRAM = "programs/stablehlo/forward.bin"


def put_program(bundle: Path, forward, *, checks=()) -> None:
    """Puts another program into a bundle, under a manifest that is right."""
    (batch,) = export.symbolic_shape("b")
    weights = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype)
        for name, x in read_arrays(bundle, loader.WEIGHTS).items()
    }
    image = jax.ShapeDtypeStruct((batch, 8, 8, 1), np.uint8)
    made = export.export(jax.jit(forward), platforms=("cpu",), disabled_checks=checks)
    (bundle / PROGRAM).write_bytes(bytes(made(weights, {"image": image}).serialize()))
    rewrite_manifest(bundle)


def test_program_that_calls_a_native_function_is_refused_before_it_is_compiled(bundle, monkeypatch):
    name = "xla_python_cpu_callback"

    def forward(weights, inputs):
        x = inputs["image"].reshape(-1, 64)[:, :10].astype(jnp.float32)
        y = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(x.shape, x.dtype))(x)
        return {"probabilities": y, "label": y.argmax(-1).astype(jnp.int32)}

    put_program(bundle, forward, checks=[export.DisabledSafetyCheck.custom_call(name)])
    monkeypatch.setattr(jax, "jit", lambda *_: pytest.fail("it was compiled"))
    said = f"calls the native function '{name}', which is none of those"
    with pytest.raises(loader.BundleError, match=said):
        loader.load_bundle(bundle).predict(IMAGE)


def test_program_with_jaxs_linear_algebra_and_random_numbers_answers(bundle):
    def forward(weights, inputs):
        x = inputs["image"].reshape(-1, 8, 8).astype(jnp.float32)
        noise = jax.random.normal(jax.random.key(0), x.shape)
        y = jnp.linalg.qr(x + noise)[0].sum(1)
        y = jax.nn.softmax(jnp.pad(y, ((0, 0), (0, 2))))
        return {"probabilities": y, "label": y.argmax(-1).astype(jnp.int32)}

    put_program(bundle, forward)
    assert loader.load_bundle(bundle).predict(IMAGE)["label"].shape == (1,)


@pytest.mark.parametrize(
    "line",
    [
        "%0 = stablehlo.custom_call @tpu_custom_call(%1)",
        '%0 = stablehlo.custom_call @"a b"(%1)',
        '%0 = "stablehlo.custom_call"(%1) <{call_target_name = "shape_assertion"}>',
        '%0 = "stablehlo.outfeed"(%1, %2)',
        "%0:2 = stablehlo.infeed %1",
        "%0 = stablehlo.custom_call @lapack_evil(%1)",
    ],
)
def test_text_that_calls_or_talks_is_refused(line):
    with pytest.raises(loader.BundleError, match="x is refused: "):
        check_stablehlo(f"func.func @main() {{\n  {line}\n}}", "x")


def no_function(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.functions.append(
        helper.make_function("com.example", "F", ["x"], ["x"], [], [helper.make_opsetid("", 18)])
    )


def other_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def inside_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("X", [], ["y"], domain="evil")], "g", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


def weights_elsewhere(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.external_data)
    next(e for e in tensor.external_data if e.key == "location").value = "/etc/hostname"


def weights_named_twice(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.external_data)
    tensor.external_data.add(key="location", value="../x")


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (no_function, "functions or training of its own|operators of 'com.example'"),
        (other_domain, "the operators of 'com.microsoft'"),
        (inside_a_branch, "the operators of 'evil'"),
        (weights_elsewhere, r"elsewhere than in weights\.safetensors"),
        (weights_named_twice, r"elsewhere than in weights\.safetensors"),
    ],
)
def test_onnx_beyond_the_standard_is_refused(bundle, forge, said):
    model = onnx.load(bundle / loader.ONNX, load_external_data=False)
    forge(model)
    (bundle / loader.ONNX).write_bytes(model.SerializeToString())
    rewrite_manifest(bundle)
    with pytest.raises(loader.BundleError, match=rf"model\.onnx is refused: .*({said})"):
        loader.load_bundle(bundle, program="onnx").predict(IMAGE)


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_onnx_that_is_cut_off_is_refused(bundle, cut):
    data = (bundle / loader.ONNX).read_bytes()
    (bundle / loader.ONNX).write_bytes(data[:-cut])
    rewrite_manifest(bundle)
    with pytest.raises(loader.BundleError, match=r"model\.onnx"):
        loader.load_bundle(bundle, program="onnx").predict(IMAGE)


def test_the_unchanged_onnx_answers_as_stablehlo_does(bundle):
    expected = loader.load_bundle(bundle).predict(IMAGE)["label"]
    assert json.loads((bundle / "signature.json").read_text())["programs"]["onnx"]["path"]
    np.testing.assert_array_equal(
        loader.load_bundle(bundle, program="onnx").predict(IMAGE)["label"], expected
    )
