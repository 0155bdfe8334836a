"""The features of an image classifier that was trained here, for the metric `frechet`."""

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx

from lepton_jax.config.config import Config
from lepton_jax.config.schema import PathText, PositiveInt
from lepton_jax.config.validation import validate_config
from lepton_jax.console import format_command
from lepton_jax.errors import UserError
from lepton_jax.metrics.frechet import Frechet
from lepton_jax.training import saved
from lepton_jax.training.functional import Functional
from lepton_jax.trees import unflatten_tree

# B batch, H height, W width, C channels, D features.


def frechet(
    classes: Sequence[str], *, classifier: PathText, samples: PositiveInt = 5000
) -> Frechet:
    """Makes the metric `frechet`, the Frechet distance in the features of a classifier.

    Keys:
      classifier: the workdir of a run, whose best checkpoint is taken, or a bundle.
      samples: the number of generated images.

    Raises:
      UserError: when `classifier` names no run or bundle of an image classifier.
    """
    return Frechet(ClassifierFeatures(classifier), samples)


class ClassifierFeatures:
    """The input of the last layer, which is called `head`, of a trained image classifier.

    It computes in float32, in whatever precision a program asks for it.
    """

    def __init__(self, path: str):
        """Reads a classifier from `path`, a workdir or a bundle.

        Raises:
          UserError: when it is neither, or its model has no layer `head`.
        """
        self._path = path = os.path.expanduser(path)
        self._config = _read_config(path)
        self._weights = {
            name: np.asarray(w, np.float32) if np.issubdtype(w.dtype, np.floating) else w
            for name, w in saved.read_weights(path).items()
        }
        if "head.bias" not in self._weights:
            raise UserError(
                f"metric frechet: the model of {path} has no last layer called 'head', whose input "
                "would be its features"
            )
        self._outputs = len(self._weights["head.bias"])
        self._prepare = self._config.data.prepare

    @cached_property
    def identity(self) -> dict[str, str]:
        """The fingerprint of the classifier's config, and the SHA-256 of its weights."""
        digest = hashlib.sha256()
        for name, array in sorted(self._weights.items()):
            digest.update(f"{name} {array.dtype} {array.size}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return {"config": self._config.fingerprint(), "weights": digest.hexdigest()}

    def __call__(self, image_BHWC: jax.Array) -> jax.Array:
        """Computes the features float32 [B, D] of raw images, without noise; traced.

        Raises:
          UserError: when they are not of the size that the classifier was trained on.
        """
        batch = {"image": image_BHWC}
        for transform in self._prepare:
            batch = transform.build(batch, None)
        model = self._model(image_BHWC.shape[1:])
        model.head = _Identity()
        return model(batch["image"].astype(jnp.float32), None).reshape(image_BHWC.shape[0], -1)

    def _model(self, shape: tuple[int, ...]) -> Any:
        component = self._config.model
        functional = Functional(lambda rngs: component.build(shape, self._outputs, rngs=rngs))
        like = jax.eval_shape(functional.init, jax.random.key(0))
        try:
            params, rest = (unflatten_tree(self._weights, tree) for tree in like)
            fits = jax.tree.leaves(jax.tree.map(lambda x, y: x.shape == y.shape, like[0], params))
        except KeyError:
            fits = [False]
        if not all(fits):
            raise UserError(
                f"metric frechet: the classifier of {self._path} does not take images of "
                f"{' x '.join(map(str, shape))}"
            )
        return functional.merge(*jax.tree.map(jnp.asarray, (params, rest)))


class _Identity(nnx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def _read_config(path: str) -> Config:
    """Reads the config of a run or of a bundle."""
    folder = epath.Path(path)
    if (folder / "lineage.json").exists():
        config = json.loads((folder / "lineage.json").read_text())["config"]
        return validate_config(config, f"{path}/lineage.json")
    if not (folder / "config.json").exists():
        raise UserError(
            f"metric frechet: classifier = {path!r} is no workdir (config.json) or bundle "
            "(lineage.json); train an image classifier there first: "
            + format_command("train --config=...", workdir=path)
        )
    return saved.read_config(path)
