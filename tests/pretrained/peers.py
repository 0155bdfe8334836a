"""Models of `transformers` at random weights, and ours that are read from their folders."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath

from lepton_jax.config.components import Component
from lepton_jax.config.validation import validate_config
from lepton_jax.models.hugging_face.folder import read_pretrained, write_pretrained
from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree, unflatten_tree

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
torch: Any = pytest.importorskip("torch", reason="needs the extra 'peers'")
transformers: Any = pytest.importorskip("transformers", reason="needs the extra 'peers'")

VIT = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    image_size=8,
    patch_size=4,
)
VIT_KEYS = dict(width=16, layers=2, heads=2, patch=4, mlp="gelu_exact", epsilon=1e-12)
"""A small ViT as transformers writes it, and as we do."""


def peer(kind: str, **config: Any) -> Any:
    """The model `kind` of transformers, in evaluation, none of its arrays as it begins."""
    model_class = getattr(transformers, kind)
    return randomized(model_class(model_class.config_class(**config)))


def randomized(model: Any) -> Any:
    """Every parameter and statistic of a torch model drawn, of a size that keeps numbers tame."""
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, x in [*model.named_parameters(), *model.named_buffers()]:
            if not x.is_floating_point() or "inv_freq" in name:
                continue
            noise = torch.randn(x.shape, generator=draws)
            if x.ndim > 1:
                x.copy_(noise / max(x.shape[1:].numel(), 1) ** 0.5)
            else:  # a scale or a variance lies around 1
                x.copy_(0.3 * noise if name.endswith(("bias", "mean")) else 1 + 0.5 * noise.tanh())
    return model.eval()


def saved(model: Any, folder: Path, **how: Any) -> Path:
    model.save_pretrained(folder, **how)
    return folder


def chosen(name: str, **keys: Any) -> Component:
    """A model section with every key filled in."""
    config = {
        "model": {"name": name, **keys},
        "task": {"name": "image_classification"},
        "data": {"source": {"name": "digits"}},
        "optimizer": {"name": "sgd", "learning_rate": 1.0},
        "batch_size": 1,
        "train_for": "1 steps",
    }
    return validate_config(config).model


def read(folder: Path, model: Component, input_shape: Any, outputs: int) -> Any:
    """Our module with what lies in the folder, which must have all of its arrays."""
    functional = Functional(lambda rngs: model.build(input_shape, outputs, rngs=rngs))
    params, rest = jax.eval_shape(lambda: functional.init(jax.random.key(0)))
    found = arrays(folder, model, input_shape, outputs)
    shapes = {name: x.shape for name, x in (flatten_tree(params) | flatten_tree(rest)).items()}
    assert {name: x.shape for name, x in found.items()} == shapes
    return functional.merge(unflatten_tree(found, params), unflatten_tree(found, rest))


def arrays(folder: Path, model: Component, input_shape: Any, outputs: int) -> dict[str, Any]:
    """What lies in the folder, by our names."""
    return read_pretrained(epath.Path(folder), model, input_shape, outputs).weights


def written(
    folder: Path, module: Any, model: Component, input_shape: Any, outputs: int, labels: bool = True
) -> None:
    """The way back: our module as a folder of theirs."""
    classes = tuple(f"class {i}" for i in range(outputs)) if labels else ()
    functional = Functional(lambda rngs: model.build(input_shape, outputs, rngs=rngs))
    params, rest = functional.split(module)
    own = {name: np.asarray(x) for name, x in (flatten_tree(params) | flatten_tree(rest)).items()}
    write_pretrained(epath.Path(folder), own, model, input_shape, outputs, classes)


def difference(a: Any, b: Any) -> float:
    """The largest one, in units of how large the numbers are."""
    a, b = (np.asarray(x.detach() if hasattr(x, "detach") else x) for x in (a, b))
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())
