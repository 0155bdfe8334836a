"""lepton_jax: from a lab experiment in JAX to a registered model that answers, on one path.

Every command of `launch.py` is a function here: `lepton_jax.train(config, workdir)`.
"""

import importlib
from typing import Any

__all__ = [
    "evaluate",
    "export",
    "predict",
    "promote",
    "register",
    "runs",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("lepton_jax.api"), name)
    raise AttributeError(f"module 'lepton_jax' has no attribute {name!r}")
