"""The Frechet distance between generated images and real ones, in the features of a classifier.

After Heusel et al. 2017, with a classifier that was trained here in place of Inception: distances
in the features of different classifiers do not compare, so each says which one it was.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx

from lepton_jax.config.config import Config
from lepton_jax.config.schema import PositiveInt
from lepton_jax.config.validation import calls, validate_config
from lepton_jax.errors import UserError
from lepton_jax.training import saved
from lepton_jax.training.functional import Functional
from lepton_jax.trees import unflatten_tree

# B batch, H height, W width, C channels, D features.


class Frechet:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)), of means m, n and covariances A, B of the features.

    Generated are the images of the first `samples` seeds of a split; real are all of the split's.

    Raises:
      UserError: when `classifier` names no run or bundle of an image classifier.
    """

    def __init__(self, classes: Sequence[str], *, classifier: str, samples: PositiveInt = 5000):
        """`classifier`: the workdir of a run, whose best checkpoint is taken, or a bundle."""
        self._features = Features(classifier)
        self._samples = samples

    def sums(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
        """Of `real` and of `generated` images: `count` [], and the sums of features, `sum` [D],
        and of their products, `outer` [D, D].
        """
        mask_B = batch["mask"].astype(jnp.float32)
        drawn_B = mask_B * (batch["seed"] < self._samples)
        return {
            "real": self._moments(batch["image"], mask_B),
            "generated": self._moments(outputs["image"], drawn_B),
        }

    def results(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """`frechet`, and of what: how many images of each kind, and the classifier."""
        real, generated = (_gaussian(sums[kind]) for kind in ("real", "generated"))
        return {
            "frechet": frechet_distance(*real, *generated),
            "frechet_of": {
                "real": int(sums["real"]["count"]),
                "generated": int(sums["generated"]["count"]),
                "classifier": self._features.identity,
            },
        }

    def _moments(self, image_BHWC: jax.Array, weight_B: jax.Array) -> dict[str, jax.Array]:
        x_BD = self._features(image_BHWC)
        weighted_BD = weight_B[:, None] * x_BD
        outer_DD = jnp.matmul(weighted_BD.T, x_BD, precision="highest")
        return {"count": weight_B.sum(), "sum": weighted_BD.sum(0), "outer": outer_DD}


class Features:
    """What a trained image classifier sees: the input of its last layer, which is called `head`.

    It computes in float32, whatever it is asked from.
    """

    def __init__(self, path: str):
        """`path`: a workdir or a bundle. Raises `UserError` when it is neither."""
        self._path = path
        self._config = _config(path)
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
        self._prepare = calls("transform", self._config.data.prepare)

    @cached_property
    def identity(self) -> dict[str, str]:
        """The fingerprint of its config, and the SHA-256 of its weights."""
        digest = hashlib.sha256()
        for name, array in sorted(self._weights.items()):
            digest.update(f"{name} {array.dtype} {array.size}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return {"config": self._config.fingerprint(), "weights": digest.hexdigest()}

    def __call__(self, image_BHWC: jax.Array) -> jax.Array:
        """float32 `[B, D]` of raw images, in evaluation.

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
        choice = self._config.model
        functional = Functional(lambda rngs: choice.build(shape, self._outputs, rngs=rngs))
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


def frechet_distance(
    mean_D: np.ndarray, cov_DD: np.ndarray, other_D: np.ndarray, other_DD: np.ndarray
) -> float:
    """Between two Gaussians (Dowson & Landau 1982)."""
    # tr((A B)^(1/2)) by A^(1/2) B A^(1/2), which is symmetric: real also where A is singular.
    values, vectors = np.linalg.eigh(cov_DD)
    root_DD = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root_DD @ other_DD @ root_DD)
    trace = np.trace(cov_DD) + np.trace(other_DD) - 2 * np.sqrt(np.maximum(crossed, 0)).sum()
    return float(np.square(mean_D - other_D).sum() + trace)


def _gaussian(sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and unbiased covariance [D, D]."""
    count = max(float(sums["count"]), 2.0)
    mean_D = sums["sum"] / count
    return mean_D, (sums["outer"] - count * np.outer(mean_D, mean_D)) / (count - 1)


def _config(path: str) -> Config:
    folder = epath.Path(path)
    if (folder / "lineage.json").exists():
        config = json.loads((folder / "lineage.json").read_text())["config"]
        return validate_config(config, f"{path}/lineage.json")
    if not (folder / "config.json").exists():
        raise UserError(
            f"metric frechet: classifier = {path!r} is no workdir (config.json) or bundle "
            "(lineage.json); train an image classifier there first: python launch.py train "
            f"--config=... --workdir={path}"
        )
    return saved.read_config(path)
