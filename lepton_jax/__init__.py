"""lepton_jax: from a lab experiment in JAX to a registered model that answers, on one path.

Every command of `launch.py` is a function here: `lepton_jax.train(config, workdir)`.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    api = importlib.import_module("lepton_jax.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'lepton_jax' has no attribute {name!r}")
