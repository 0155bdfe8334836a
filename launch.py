#!/usr/bin/env python3
"""The front door of lepton_jax: `python launch.py COMMAND --help`."""

from lepton_jax.cli.run import main
from lepton_jax.cli.table import Commands
from lepton_jax.commands import find_command

COMMANDS = {
    # from a config to a record
    "plan": "what a run needs and how long it takes, here or on a topology",
    "train": "train a config, or go on where its run stopped",
    "evaluate": "measure a run's checkpoint on a split",
    "augment": "draw training images as they come and as steps see them",
    "submit": "hand a command over to Slurm, or write it as a Kubernetes JobSet",
    "debug": "make one step again and say where its numbers break",
    "runs": "list and compare the runs below a folder",
    # from a question to an answer
    "ablate": "run an experiment's trials, packed, and answer its question",
    "reproduce": "run an experiment and compare it with published numbers",
    "watch": "how far an experiment is, live",
    "pack": "run one pack of an experiment's trials (what executors call)",
    # from a record to a model that answers
    "export": "write a run's model as a self-contained bundle",
    "verify": "prove, in a clean process, that a bundle computes what it says",
    "register": "add a verified bundle to the registry as a new version",
    "promote": "move 'staging' or 'production' to a version that meets the gate",
    "registry": "list, show, diff, history, rollback, gate",
    "predict": "answers from a bundle or a registered model",
    "generate": "text from a language model's run or bundle, as it is made",
}

if __name__ == "__main__":
    main(Commands(COMMANDS, find_command))
