"""A small model really trained on the digits, as export sees a run; and its verified bundle."""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from lepton_jax.config.pipeline import NO_TRANSFORMS
from lepton_jax.data import dataset
from lepton_jax.data.sources.digits import digits
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.verify import verify_bundle
from lepton_jax.isolation.tried import note_tried
from lepton_jax.registry.own_verdict import note_verdict
from lepton_jax.serving import loader
from tests.data import pipelines

DATA = {"source": {"name": "digits"}, "decode": "", "valid_fraction": 0.1, "split_seed": 0}


class Net(nnx.Module):
    """Parameters and running statistics, as a run's model has both."""

    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 48, rngs=rngs)
        self.norm = nnx.BatchNorm(48, rngs=rngs)
        self.out = nnx.Linear(48, 10, rngs=rngs)

    def __call__(self, image: jax.Array) -> jax.Array:
        x = image.reshape(image.shape[0], -1).astype(jnp.float32) / 255
        return self.out(nnx.relu(self.norm(self.hidden(x))))


CONFIG = {"data": DATA, "model": {"name": "net"}}

PROVENANCE = {
    "command": "launch.py train --config=configs/digits.py",
    "python": "3.11.7",
    "host": "a-host",
    "packages": {"jax": jax.__version__, "a-private-package": "1.0"},
    "code": {"commit": "c0ffee", "branch": "b", "diff": "-secret", "diff_sha256": "d1"},
}


def digits_data() -> Any:
    return dataset.load_dataset(
        digits(), decode=pipelines.read(""), valid_fraction=0.1, split_seed=0
    )


STEPS = (2, 20, 150)
"""Numbers of training steps at which a run may be looked at: the more, the better."""


@cache
def _fitted() -> tuple[dict[int, dict[str, np.ndarray]], Any]:
    """Weights by name after each of STEPS of full-batch Adam, and the pure forward of the Net."""
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(5e-3), wrt=nnx.Param)
    train = digits_data().splits["train"].columns

    @nnx.jit
    def update(model: Net, optimizer: nnx.Optimizer, image: jax.Array, label: jax.Array) -> None:
        def loss(model: Net) -> jax.Array:
            logits = model(image)
            return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

        optimizer.update(model, nnx.grad(loss)(model))

    weights = {}
    model.train()
    for step in range(1, max(STEPS) + 1):
        update(model, optimizer, jnp.asarray(train["image"]), jnp.asarray(train["label"]))
        if step in STEPS:
            pure = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
            leaves, tree = jax.tree_util.tree_flatten_with_path(pure)
            names = [".".join(str(k.key) for k in path) for path, _ in leaves]
            weights[step] = {n: np.array(x) for n, (_, x) in zip(names, leaves, strict=True)}
    model.eval()
    graph, variables, rest = nnx.split(model, (nnx.Param, nnx.BatchStat), ...)

    def forward(weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        filled = jax.tree.map(lambda v: v, variables)
        nnx.replace_by_pure_dict(
            filled, jax.tree_util.tree_unflatten(tree, [weights[n] for n in names])
        )
        logits = nnx.merge(graph, filled, rest)(inputs["image"])
        return {
            "probabilities": jax.nn.softmax(logits),
            "label": logits.argmax(-1).astype(jnp.int32),
        }

    return weights, forward


def trained_run(workdir: Path, steps: int = 150) -> Exportable:
    """A model whose recorded test accuracy was measured by the model itself, not by a bundle."""
    snapshots, forward = _fitted()
    weights = dict(snapshots[steps])
    data = digits_data()
    test = data.splits["test"].columns
    said = np.asarray(jax.jit(forward)(weights, {"image": test["image"]})["label"])
    accuracy = float((said == test["label"]).mean())
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (test["label"], said), 1)
    results = {"test": {"accuracy": accuracy, "confusion": confusion.tolist(), "step": 150}}
    return Exportable(
        workdir=str(workdir),
        step=150,
        weights=weights,
        forward=forward,
        input_fields={"image": data.spec.fields["image"]},
        answer="class",
        classes=data.spec.classes,
        decode=NO_TRANSFORMS,
        config=CONFIG,
        fingerprint="0123456789ab",
        data_fingerprint=data.fingerprint,
        provenance=PROVENANCE,
        results=results,
        splits=data.splits,
        texts=None,
    )


def verified_bundle(folders: pytest.TempPathFactory, steps: int = 150) -> Path:
    """Made once for all processes of the suite, and known to each as verified; tests copy it."""
    base = folders.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    bundle = shared / "verified" / str(steps) / "bundle"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with open(bundle.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (bundle / loader.VERDICT).exists():
            export_bundle(trained_run(bundle.parent / "run", steps), str(bundle))
            verdict = verify_bundle(str(bundle))
            assert verdict.ok, verdict
    note_verdict(loader.bundle_id(bundle), (bundle / loader.VERDICT).read_bytes())
    note_tried(loader.bundle_id(bundle), "stablehlo", "onnx")
    return bundle


def rewrite_manifest(bundle: Path) -> None:
    """What a forger would do: change files and write the manifest anew."""
    paths = [p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()]
    text = loader.manifest_bytes(bundle, sorted(set(paths) - loader.UNLISTED))
    (bundle / loader.MANIFEST).write_bytes(text)


def state_gate(bundle: Path, gate: object) -> None:
    """Has the bundle say that its run's config stated a gate."""
    lineage = json.loads((bundle / "lineage.json").read_text())
    lineage["config"]["gate"] = gate
    (bundle / "lineage.json").write_text(json.dumps(lineage))
    rewrite_manifest(bundle)


def copied(bundle: Path, to: Path) -> Path:
    shutil.copytree(bundle, to)
    return to


def flip(path: Path, position: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def strings_of(bundle: Path) -> bytes:
    """Every byte of every file, and every file's name."""
    files = [p for p in bundle.rglob("*") if p.is_file()]
    names = os.fsencode("\n".join(str(p.relative_to(bundle)) for p in files))
    return names + b"\n".join(p.read_bytes() for p in files)
