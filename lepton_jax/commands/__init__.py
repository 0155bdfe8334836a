"""The commands: their table, and one file a command, with its function, its help and its result.

The help is the function's docstring, and its parameters are the flags. What a command does lies in
a room of its own, imported when the command is called: importing a command is light.
"""

import importlib
from collections.abc import Callable
from typing import Any

from lepton_jax.cli.table import Commands


def find_command(name: str) -> Callable[..., Any]:
    """Returns the function `name` of the module `name`, and imports no other command."""
    command: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return command


COMMANDS = Commands(
    {
        "from a config to a record": {
            "plan": "estimate what a run needs and how long it takes",
            "train": "train a config, or resume its run",
            "evaluate": "measure a run's checkpoint on a split",
            "lr_find": "sweep the learning rate over some steps, and suggest one",
            "augment": "draw training images, original and augmented",
            "submit": "submit a command to Slurm, or write it as a Kubernetes JobSet",
            "explain": "say which parts of an input an answer rests on, and check it",
            "debug": "replay one step and find its first non-finite value",
            "runs": "list and compare the runs below a folder",
            "replay": "compute spans of a run again, and compare them with its record",
            "compare": "say what differs between two runs, and where their numbers part",
        },
        "from a question to an answer": {
            "ablate": "run an experiment's trials, packed, and answer its question",
            "reproduce": "run an experiment and compare it with published numbers",
            "watch": "show the progress of an experiment",
            "pack": "run one pack of an experiment's trials (what executors call)",
        },
        "from a record to a model that answers": {
            "export": "write a run's model as a self-contained bundle",
            "re_export": "make a new bundle of an old one, and compare their answers",
            "verify": "prove, in a clean process, that a bundle computes what it says",
            "sign": "sign a bundle, or make a key to sign with",
            "trust": "list, add and revoke the keys whose signatures count here",
            "register": "add a verified bundle to the registry as a new version",
            "promote": "move 'staging' or 'production' to a version that meets the gate",
            "registry": "show and change versions, aliases and gates",
            "trace": "say what a registered model was made from, and rebuild it",
            "predict": "answer inputs with a bundle or a registered model",
            "requests": "say what a server kept of its requests, and delete some",
            "replay_log": "answer kept requests again, and compare the answers to the bit",
            "improve": "train a successor of what is in production on what it was asked",
            "generate": "generate text with a language model's run, bundle or version",
        },
        "from a model to production, and back to the lab": {
            "serve": "serve models over HTTP, by the Open Inference Protocol",
            "monitor": "tell whether a model is asked for something else than it was made for",
            "deploy": "write the image and the manifests by which a cluster serves a model",
        },
        "what there is to choose, and what is installed": {
            "list": "list models, recipes, optimizers and all else that has a name",
            "describe": "say every key of a component or of the config, and what it means",
            "env": "show versions, devices, caches, the registry and extras",
            "completion": "make the Tab key of bash, zsh or fish complete lepton's commands",
        },
    },
    find_command,
)
"""Every command, in the order in which `--help` lists them."""
