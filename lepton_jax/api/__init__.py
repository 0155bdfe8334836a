"""Every command as a function that a notebook can call.

Each returns a small record of what it did: `str()` of it is what the command line prints,
`as_json()` what `--json` prints. Parameters are the command's flags. Heavy modules are imported
inside, by the one command that needs them.
"""

from lepton_jax.api.experiments import ablate, pack, reproduce, view, watch
from lepton_jax.api.lab import augment, debug, evaluate, plan, runs, submit, train
from lepton_jax.api.production import export, generate, predict, promote, register, registry, verify

__all__ = [
    "ablate",
    "augment",
    "debug",
    "evaluate",
    "export",
    "generate",
    "pack",
    "plan",
    "predict",
    "promote",
    "register",
    "registry",
    "reproduce",
    "runs",
    "submit",
    "train",
    "verify",
    "view",
    "watch",
]
