"""LoRA (Hu et al. 2021): W + (alpha / rank) A B in place of a matrix W, of which A and B train.

The whole matrices are computed once a step, so that every model, placement and export sees plain
parameters. Parameters are kept by name, in flat dicts: `x.kernel` [..., I, O], and beside it
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
from lepton_jax.io.weight_files import read_safetensors
from lepton_jax.trees import flatten_tree, unflatten_tree

A, B = ".lora_a", ".lora_b"
ALPHA = "alpha"

Named = Mapping[str, Any]


@dataclass(frozen=True)
class Adapters:
    """The adapters of a model: which of its parameters train, which are frozen, and all as one."""

    config: LoraConfig
    like: Any
    """The model's parameters, as a tree of shapes."""

    def split(self, params: Any, key: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Splits fresh `params` into what trains, adapters included, and what is frozen.

        A is normal with deviation 1 / sqrt(I) and B is zero: the model begins as it is without.

        Raises:
          UserError: when a pattern matches nothing, or a parameter that is no matrix.
        """
        fresh = flatten_tree(params)
        kernels = _match_names(fresh, self.config.pattern, "lora.pattern")
        train = _match_names(fresh, self.config.train, "lora.train") if self.config.train else []
        trained = {name: fresh[name] for name in train}
        frozen = {name: x for name, x in fresh.items() if name not in trained}
        for i, name in enumerate(sorted(set(kernels) - set(train))):
            *lead, rows, columns = _matrix_shape(name, fresh[name])
            rank, dtype = self.config.rank, fresh[name].dtype
            draw = jax.random.normal(jax.random.fold_in(key, i), (*lead, rows, rank), dtype)
            trained[name + A] = draw / rows**0.5
            trained[name + B] = jnp.zeros((*lead, rank, columns), dtype)
        return trained, frozen

    def whole(self, trained: Named, frozen: Named) -> Any:
        """Returns the model's parameters as a tree."""
        return unflatten_tree(
            merge_adapters(trained, frozen, self.config.alpha, self.config.rank), self.like
        )


def merge_adapters(trained: Named, frozen: Named, alpha: Any, rank: int) -> dict[str, Any]:
    """Returns every parameter of the model by name: W + (alpha / rank) A B where W has adapters."""
    params = dict(frozen)
    for name, x in trained.items():
        if name.endswith(A):
            kernel = name.removesuffix(A)
            change = (alpha / rank) * (x @ trained[kernel + B])
            params[kernel] = frozen[kernel] + change.astype(x.dtype)
        elif not name.endswith(B):
            params[name] = x
    return params


def is_adapter(name: str) -> bool:
    """Tells whether a parameter of this name is an A or a B."""
    return name.endswith((A, B))


def adapter_specs(adapters: Named, specs: Mapping[str, P]) -> dict[str, P]:
    """Returns the specs of A and B: sharded as the rows and the columns of their matrix, and never
    over the rank.
    """
    adapted = {}
    for name, x in adapters.items():
        spec = specs[name.removesuffix(A).removesuffix(B)]
        axes = [*spec, *[None] * (x.ndim - len(spec))]
        axes[-1 if name.endswith(A) else -2] = None
        adapted[name] = P(*axes) if any(axes) else P()
    return adapted


def write_adapters(file: epath.Path, trained: Named, alpha: float) -> int:
    """Writes what was trained, with its `alpha`, as one safetensors file. Returns its bytes."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(x) for name, x in trained.items()}
    content = save({**arrays, ALPHA: np.asarray(alpha, np.float32)})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return len(content)


def read_adapters(path: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a file that `write_adapters` wrote, `alpha` among them.

    Raises:
      UserError: when there is no such file.
    """
    file = epath.Path(path)
    if not file.exists():
        raise UserError(f"lora.init_from = {path!r}: there is no such file")
    arrays = read_safetensors(file)
    if ALPHA not in arrays:
        raise UserError(f"lora.init_from = {path!r} is no file of adapters: it has no {ALPHA!r}")
    return arrays


def match_adapters(stored: Named, trained: Named, alpha: float) -> dict[str, np.ndarray]:
    """Checks that arrays of `read_adapters` fit this run's, and returns them for its alpha.

    Where the file has another alpha, B is scaled by the quotient, so that the model is the same.

    Raises:
      UserError: when they are of other adapters, naming the first that differs.
    """
    stored = dict(stored)
    scale = np.float32(float(stored.pop(ALPHA)) / alpha)
    for name in [*trained, *stored]:
        here, there = (tuple(x[name].shape) if name in x else None for x in (trained, stored))
        if here != there:
            raise UserError(
                "lora.init_from holds adapters of another config (lora.rank, lora.pattern, "
                f"lora.train): {name} is {there or 'absent'} in the file, "
                f"expected {here or 'no such array'}"
            )
    return {name: x * scale if name.endswith(B) else x for name, x in stored.items()}


def _match_names(names: Named, pattern: str, key: str) -> list[str]:
    """Returns the names that a pattern matches. Raises `UserError` when there is none."""
    matching = [name for name in names if re.search(pattern, name)]
    if not matching:
        raise UserError(
            f"{key} = {pattern!r} matches no parameter{did_you_mean(pattern, names)}; there are: "
            + ", ".join(names)
        )
    return matching


def _matrix_shape(name: str, x: Any) -> tuple[int, ...]:
    """Returns the shape [..., I, O] of a matrix. Raises `UserError` when `x` is none."""
    if x.ndim < 2:
        raise UserError(
            f"lora.pattern matches {name} {tuple(x.shape)}, which is no matrix; leave it out, or "
            "train it whole by lora.train"
        )
    return tuple(x.shape)
