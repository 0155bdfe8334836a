"""A run's config, trained again with the code of another commit of lepton_jax."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lepton_jax.config.config import Config
from lepton_jax.config.validation import validate_config
from lepton_jax.config.walk import to_tree
from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.tracking.record import Record


def train_with_code(workdir: str, revision: str) -> str:
    """Trains the config of a run with the code of a commit; goes on where that was stopped.

    Returns:
      The workdir of the run, which is `WORKDIR-at-COMMIT`.

    Raises:
      UserError: when this lepton_jax is in no git repository, or has no such commit.
      WorkError: when the training fails there.
    """
    commit = find_commit(revision)
    if not commit:
        raise UserError(
            f"--code={revision}: {_find_repository()} has no such commit; expected a branch, a tag "
            "or a commit, such as HEAD~1"
        )
    name = commit[:10]
    out = f"{workdir.rstrip('/')}-at-{name}"
    say(f"training the config of {workdir} with the code of {name} in {out}")
    with checked_out(name) as tree:
        file = Path(tree).parent / "config.json"
        file.write_text(json.dumps(without_defaults(workdir)))
        run_code(tree, ["train", f"--config={file}", f"--workdir={out}"])
    return out


def find_commit(revision: str) -> str | None:
    """Returns the commit of lepton_jax's repository that a name stands for; None of no commit.

    Raises:
      UserError: when this lepton_jax is in no git repository.
    """
    name = f"{revision}^{{commit}}"
    return _run_git(_find_repository(), "rev-parse", "--verify", "--quiet", name)


@contextmanager
def checked_out(commit: str, diff: str = "") -> Iterator[str]:
    """Yields a folder with the code of a commit of lepton_jax, to which `diff` was applied.

    Raises:
      WorkError: when git cannot do that.
    """
    repository = _find_repository()
    with tempfile.TemporaryDirectory() as folder:
        # A work tree and no archive: the run's provenance then names the commit.
        tree = os.path.join(folder, "lepton_jax")
        done = _run_git(repository, "worktree", "add", "--quiet", "--detach", tree, commit)
        if done is None:
            raise WorkError(f"git could not check {commit} out into {tree}")
        try:
            if diff:
                Path(folder, "diff").write_text(diff)
                if _run_git(tree, "apply", os.path.join(folder, "diff")) is None:
                    raise WorkError(f"git could not apply the changes of the run to {commit}")
            yield tree
        finally:
            _run_git(repository, "worktree", "remove", "--force", tree)


def without_defaults(workdir: str) -> dict[str, object]:
    """Returns a run's config without the keys that have their defaults.

    The other code may not know all of them.
    """
    record = Record.open(workdir)
    config = validate_config(record.config(), record.path("config.json"))
    tree = config.to_dict()
    for field in dataclasses.fields(Config):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is not dataclasses.MISSING and to_tree(default) == tree.get(field.name):
            del tree[field.name]
    return tree


def run_code(folder: str, words: Sequence[str]) -> None:
    """Runs a command of the package in `folder`, with the user's own parts of the current one.

    Raises:
      WorkError: when it fails.
    """
    paths = [folder, os.getcwd(), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-P", "-m", "lepton_jax", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise WorkError(
            f"the other code could not {words[0]} this (exit code {done.returncode}); what it "
            "said stands above"
        )


def _find_repository() -> str:
    found = _run_git(os.path.dirname(os.path.abspath(__file__)), "rev-parse", "--show-toplevel")
    if not found:
        raise UserError(
            "--code: this lepton_jax is in no git repository, so there is no other code of it here"
        )
    return found


def _run_git(folder: str, *arguments: str) -> str | None:
    """Returns what git prints; None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, check=False, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
