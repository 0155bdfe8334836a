"""LoRA (Hu et al. 2021): W + (alpha / rank) A B in place of a matrix W, of which A and B train.

Whole matrices are put together once a step, so that every model, placement and export sees plain
parameters. Parameters by name, in flat dicts: `x.kernel` [..., I, O], and beside it
`x.kernel.lora_a` [..., I, R] and `x.kernel.lora_b` [..., R, O]; leading axes (a stack of layers, a
window) number matrices, each with its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import PartitionSpec as P

from lepton_jax.config.config import LoraConfig
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.trees import flatten_tree, unflatten_tree
from lepton_jax.weight_files import read_safetensors

A, B = ".lora_a", ".lora_b"
ALPHA = "alpha"

Named = Mapping[str, Any]


@dataclass(frozen=True)
class Adapters:
    """What a config's `lora` makes of a model: what trains and what is frozen, and them as one."""

    config: LoraConfig
    alpha: Any
    like: Any
    """The model's parameters, as a tree of shapes."""

    def split(self, params: Any, key: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """What trains and what is frozen of fresh `params`. A is normal with deviation
        1 / sqrt(I), B is zero: the model begins as it is without.

        Raises:
          UserError: when a pattern matches nothing, or what is no matrix.
        """
        whole = flatten_tree(params)
        kernels = _matched(whole, self.config.pattern, "lora.pattern")
        train = _matched(whole, self.config.train, "lora.train") if self.config.train else []
        trained = {name: whole[name] for name in train}
        frozen = {name: x for name, x in whole.items() if name not in trained}
        for i, name in enumerate(sorted(set(kernels) - set(train))):
            *lead, rows, columns = _matrix(name, whole[name])
            rank, dtype = self.config.rank, whole[name].dtype
            draw = jax.random.normal(jax.random.fold_in(key, i), (*lead, rows, rank), dtype)
            trained[name + A] = draw / rows**0.5
            trained[name + B] = jnp.zeros((*lead, rank, columns), dtype)
        return trained, frozen

    def whole(self, trained: Named, frozen: Named) -> Any:
        """The model's parameters."""
        return unflatten_tree(
            merge_adapters(trained, frozen, self.alpha, self.config.rank), self.like
        )


def merge_adapters(trained: Named, frozen: Named, alpha: Any, rank: int) -> dict[str, Any]:
    """Every parameter of the model by name, W + (alpha / rank) A B where there are adapters."""
    found = dict(frozen)
    for name, x in trained.items():
        if name.endswith(A):
            kernel = name.removesuffix(A)
            change = (alpha / rank) * (x @ trained[kernel + B])
            found[kernel] = frozen[kernel] + change.astype(x.dtype)
        elif not name.endswith(B):
            found[name] = x
    return found


def is_adapter(name: str) -> bool:
    return name.endswith((A, B))


def adapter_specs(adapters: Named, specs: Mapping[str, P]) -> dict[str, P]:
    """How A and B lie on a mesh: as the rows and the columns of their matrix; ranks are whole."""
    found = {}
    for name, x in adapters.items():
        spec = specs[name.removesuffix(A).removesuffix(B)]
        axes = [*spec, *[None] * (x.ndim - len(spec))]
        axes[-1 if name.endswith(A) else -2] = None
        found[name] = P(*axes) if any(axes) else P()
    return found


def write_adapters(file: epath.Path, trained: Named, alpha: float) -> int:
    """What was trained, as one safetensors file with its `alpha`. Its size in bytes."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(x) for name, x in trained.items()}
    content = save({**arrays, ALPHA: np.asarray(alpha, np.float32)})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return len(content)


def read_adapters(path: str) -> dict[str, np.ndarray]:
    """The arrays of such a file. Raises `UserError` when it is none."""
    file = epath.Path(path)
    if not file.exists():
        raise UserError(f"lora.init_from = {path!r}: there is no such file")
    found = read_safetensors(file)
    if ALPHA not in found:
        raise UserError(f"lora.init_from = {path!r} is no file of adapters: it has no {ALPHA!r}")
    return found


def match_adapters(found: Named, own: Named, alpha: float) -> dict[str, np.ndarray]:
    """What `read` found, for adapters like `own`. Where it has another alpha, B takes up the
    difference, so that the model is the same.

    Raises:
      UserError: when it is of other adapters, naming the first that differs.
    """
    found = dict(found)
    there = float(found.pop(ALPHA))
    for name in [*own, *found]:
        here, given = (tuple(x[name].shape) if name in x else None for x in (own, found))
        if here != given:
            raise UserError(
                "lora.init_from is of other adapters (lora.rank, lora.pattern, lora.train): "
                f"{name} is {here or 'not there'} here, {given or 'not there'} in it"
            )
    scale = np.float32(there / alpha)
    return {name: x * scale if name.endswith(B) else x for name, x in found.items()}


def _matched(names: Named, pattern: str, key: str) -> list[str]:
    found = [name for name in names if re.search(pattern, name)]
    if not found:
        raise UserError(
            f"{key} = {pattern!r} matches no parameter{did_you_mean(pattern, names)}; there are: "
            + ", ".join(names)
        )
    return found


def _matrix(name: str, x: Any) -> tuple[int, ...]:
    if x.ndim < 2:
        raise UserError(
            f"lora.pattern matches {name} {tuple(x.shape)}, which is no matrix; leave it out, or "
            "train it whole by lora.train"
        )
    return tuple(x.shape)
