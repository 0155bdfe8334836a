"""The first time that a bundle's program is used here: in a process of its own, with limits.

A program that nobody has tried might take the memory of the machine, never end, or find a fault in
what reads it. Which bundles have been exported, verified or tried here is kept in the cache,
an empty file each, so that this happens once.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from lepton_jax.io.paths import cache_root
from lepton_jax.isolation.clean_process import run_isolated
from lepton_jax.serving import loader

SECONDS = 300
"""How long a program may take for its first answer."""


def note_tried(identity: str, *programs: str) -> None:
    """Notes that these programs of the bundle `identity` have answered here."""
    with suppress(OSError):  # then they are tried again
        for program in programs:
            _note(identity, program).parent.mkdir(parents=True, exist_ok=True)
            _note(identity, program).touch()


def try_program(folder: Path, identity: str, program: str) -> None:
    """Lets an intact bundle's program answer its first example in a process of its own, if it has
    never done so here.

    Raises:
      BundleError: when it does not.
    """
    if _note(identity, program).exists():
        return
    bundle = loader.Bundle(folder, identity, program)
    examples = bundle.examples()["inputs"]
    first = {name: x[:1] for name, x in examples.items()}
    _, rows = bundle.cached_rows(first)
    report, answers = run_isolated(
        folder, identity, [first], program=program, rows=rows, seconds=SECONDS
    )
    if not answers or report["violations"]:
        why = "; ".join(report["violations"]) or report["error"]
        said = "did not answer in a process of its own"
        raise loader.BundleError(f"{folder} is not used: its program {program!r} {said}: {why}")
    note_tried(identity, program)


def _note(identity: str, program: str) -> Path:
    # A digest, as the name of a program is a bundle's own word and must lead nowhere.
    return cache_root() / "tried" / hashlib.sha256(f"{identity} {program}".encode()).hexdigest()
