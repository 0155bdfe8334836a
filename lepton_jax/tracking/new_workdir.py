"""The workdir of a new run, where the user names none or asks for a fresh one."""

import os
import re
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.io import files

RUNS = "runs"
"""The folder of the runs that the user gave no workdir."""


def name_run(given: Any, config: Config) -> str:
    """Returns a name for a run: its recipe's, its record's folder's, or its model's.

    `given`: what the user gave for the config, such as `configs/digits_cnn.py:tiny`.
    """
    name = config.model.name.rpartition(":")[2]
    if isinstance(given, str | os.PathLike):
        file = os.fspath(given)
        file = file if os.path.exists(file) else file.partition(":")[0]
        folder, last = os.path.split(os.path.abspath(os.path.expanduser(file)))
        name = os.path.basename(folder) if last == "config.json" else last.removesuffix(".py")
    return re.sub(r"-\d+$", "", name) or "run"


def make_workdir(workdir: str, name: str) -> str:
    """Makes a folder that holds nothing, and returns it.

    It is `workdir` itself where that holds nothing, else the next of `workdir-2`, `workdir-3` ...;
    with `workdir` '' the next of `runs/NAME-1`, `runs/NAME-2` ... One of these is followed by the
    next of them. Of several processes that ask at once each gets a folder of its own (in a bucket,
    where the claim of a workdir decides, one of them).

    Raises:
      UserError: when the folder cannot be made.
    """
    if workdir:
        is_empty = files.is_dir(workdir) and not files.list_folder(workdir)
        if is_empty or files.make_new_dir(workdir):
            return workdir
    base, first = (workdir.rstrip("/"), 2) if workdir else (files.join_path(RUNS, name), 1)
    files.make_dir(os.path.dirname(base) or ".")
    while not files.make_new_dir(made := _count_up(base, first)):
        pass
    return made


def next_workdir(workdir: str) -> str:
    """Returns the folder beside `workdir` that `make_workdir` would make, and makes nothing."""
    return _count_up(workdir.rstrip("/"), 2)


def _count_up(base: str, first: int) -> str:
    """Returns the next of `BASE-1`, `BASE-2` ...: the one after the last that is there.

    `first`: the number where none is there. A base that is one of them is followed by the next.
    """
    numbered = re.fullmatch(r"(.+)-\d+", base)
    if numbered and files.is_dir(f"{numbered[1]}-1"):
        base = numbered[1]
    parent, _, last = base.rpartition("/")
    taken = [
        n[len(last) + 1 :] for n in files.list_folder(parent or ".") if n.startswith(f"{last}-")
    ]
    return f"{base}-{max([first - 1, *(int(n) for n in taken if n.isdecimal())]) + 1}"
