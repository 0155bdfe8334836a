"""Each model's sharding rules fit the meshes that recipes are made for, at every size."""

from pathlib import Path

import jax
import pytest
from flax import nnx

from lepton_jax.config import config_file
from lepton_jax.config.components import resolve_component
from lepton_jax.placement import strategies
from lepton_jax.training import build
from lepton_jax.training.layout import Layout
from lepton_jax.training.load_data import load_data
from lepton_jax.trees import flatten_tree

RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
LLAMA_8B = {
    "layers": 32,
    "width": 4096,
    "heads": 32,
    "kv_heads": 8,
    "mlp": "swiglu",
    "mlp_width": 14336,
    "norm": "rms",
    "positions": "rope",
    "tied": False,
    "bias": False,
}
BIG = [
    ("cnn", (32, 32, 3), 10, {}),
    ("cnn", (32, 32, 3), 10, {"normalize": True, "padding": "VALID"}),
    ("resnet", (224, 224, 3), 1000, {}),
    ("resnet", (224, 224, 3), 1000, {"blocks": (3, 4, 6, 3), "bottleneck": True}),
    ("resnet", (32, 32, 3), 10, {"blocks": (3, 3, 3), "width": 16, "stem": "cifar"}),
    ("resnet9", (32, 32, 3), 10, {}),
    ("googlenet", (224, 224, 3), 1000, {}),
    ("vit", (224, 224, 3), 1000, {}),
    ("vit", (224, 224, 3), 1000, {"scan": True}),
    ("bert", (512, 30_522), 2, {}),
    ("bert_mlm", (512, 30_528), 30_528, {"scan": True}),
    ("encoder_decoder", ((256, 32_768), (256, 32_768)), 32_768, {"shared": False}),
    ("encoder_decoder", ((256, 32_768), (256, 32_768)), 32_768, {"scan": True}),
    ("transformer", (1024, 50_304), 50_304, {}),
    ("transformer", (8192, 128_256), 128_256, LLAMA_8B),
    ("transformer", (8192, 128_256), 128_256, LLAMA_8B | {"scan": True}),
]
MESHES = [{"data": 4, "tensor": 2}, {"fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2}]


def specs(name, shape, outputs, keys, mesh):
    model = resolve_component("model", name)
    m = nnx.eval_shape(lambda: model(shape, outputs, rngs=nnx.Rngs(0), **keys))
    params = flatten_tree(nnx.to_pure_dict(nnx.state(m, nnx.Param)))
    return params, strategies.mesh(jax.devices(), **mesh).specs(params, model.sharding)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=pytest.mark.slow if "googlenet" in p.stem else (), id=p.stem)
        for p in RECIPES
    ],
)
def test_a_tiny_recipe_can_be_spread(path):
    config = config_file.load_config(f"{path}:tiny")[0]
    program = build.build_program(config, load_data(config))
    for mesh in MESHES:
        layout = Layout(program, strategies.mesh(jax.devices(), **mesh))
        assert layout.specs.keys() == layout.parameters.keys(), mesh


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("case", BIG, ids=lambda c: f"{c[0]}-{len(c[3])}")
def test_a_big_model_can_be_spread(case, mesh):
    params, found = specs(*case, mesh)
    total = sum(x.size for x in params.values())
    size = {axis: 8 if axis == "fsdp" and len(mesh) == 1 else 2 for axis in ("fsdp", "tensor")}
    held = 0
    for name, leaf in params.items():
        parts = 1
        for axis in found[name]:
            parts *= size[axis] if axis else 1
        held += leaf.size // parts
    if "fsdp" in mesh:  # nearly everything is spread
        assert held < total / size["fsdp"] * 1.2


def test_a_stack_of_layers_is_spread_as_its_layers():
    _, apart = specs("transformer", (8192, 128_256), 128_256, LLAMA_8B, MESHES[2])
    _, stack = specs("transformer", (8192, 128_256), 128_256, LLAMA_8B | {"scan": True}, MESHES[2])
    q = apart["blocks.3.attention.q.kernel"]
    assert q == jax.P("fsdp", "tensor")
    assert stack["blocks.attention.q.kernel"] == jax.P(None, *q)
    assert stack["blocks.mlp.down.kernel"] == jax.P(None, "tensor", "fsdp")
