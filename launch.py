#!/usr/bin/env python3
"""The front door of lepton_jax: `python launch.py COMMAND --help`."""

from lepton_jax.cli.run import main
from lepton_jax.cli.table import Commands
from lepton_jax.commands import find_command

COMMANDS = {
    # from a config to a record
    "plan": "estimate what a run needs and how long it takes",
    "train": "train a config, or resume its run",
    "evaluate": "measure a run's checkpoint on a split",
    "augment": "draw training images, original and augmented",
    "submit": "submit a command to Slurm, or write it as a Kubernetes JobSet",
    "debug": "replay one step and find its first non-finite value",
    "runs": "list and compare the runs below a folder",
    # from a question to an answer
    "ablate": "run an experiment's trials, packed, and answer its question",
    "reproduce": "run an experiment and compare it with published numbers",
    "watch": "show the progress of an experiment",
    "pack": "run one pack of an experiment's trials (what executors call)",
    # from a record to a model that answers
    "export": "write a run's model as a self-contained bundle",
    "verify": "prove, in a clean process, that a bundle computes what it says",
    "register": "add a verified bundle to the registry as a new version",
    "promote": "move 'staging' or 'production' to a version that meets the gate",
    "registry": "show and change versions, aliases and gates",
    "predict": "answer inputs with a bundle or a registered model",
    "generate": "generate text with a language model's run, bundle or version",
}

if __name__ == "__main__":
    main(Commands(COMMANDS, find_command))
