"""Judges a mutated bundle or archive as its receiver would, who trusts one key: which check refused
it, and in what words."""

import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lepton_jax.archive import bundle_folder, write_archive
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export import verify as verify_module
from lepton_jax.export.verify import verify_bundle
from lepton_jax.registry.verified import check_signed, check_verified
from lepton_jax.serving import loader
from lepton_jax.serving.programs import open_program
from lepton_jax.signing.keys import KeyPair, make_key_pair
from lepton_jax.signing.signer import sign_folder
from lepton_jax.signing.trust import add_key
from tests import hostile
from tests.export import mutations


class Reached(Exception):
    """A program was about to run: so the bundle had been accepted as that of the trusted key."""


@dataclass(frozen=True)
class Judged:
    """What became of a mutation."""

    number: int
    kind: str
    refused: str
    """The check that refused it; '' where none did."""
    said: str
    """The sentence."""
    moved: bool
    """Whether anything outside of the bundle was changed."""
    opened: str
    """What reading it gives where neither key nor id is known: 'opened', 'refused', or '' of what
    has no right manifest."""
    damaged: bool
    """Whether the bundle of the same id was refused too: not so where only a signature or a verdict
    was changed."""


class Range:
    """A signed and verified bundle, of which copies are mutated and judged."""

    def __init__(self, verified: Path, folder: Path):
        self._folder = folder
        self._bundle = shutil.copytree(verified, folder / "signed")
        self.id = loader.bundle_id(self._bundle)
        self._alice = make_key_pair(str(folder / "alice.pem"))
        self._mallory: KeyPair = make_key_pair(str(folder / "mallory.pem"))
        add_key(self._alice.public, "alice")
        sign_folder(self._bundle, self._alice.private)
        write_archive(self._bundle, str(folder / "signed.tar"))
        self._packed = (folder / "signed.tar").read_bytes()

    def judge(self, number: int) -> Judged:
        """Makes a mutation, judges it, and removes it."""
        place = self._folder / str(number)
        outside = place / "outside"
        bundle = shutil.copytree(self._bundle, place / "bundle")
        outside.mkdir()
        (outside / "canary").write_text("as it was")
        path = mutations.mutate(
            number, bundle, outside, Path(self._mallory.private), self._alice.id, self._packed
        )
        before = hostile.canaries(outside)
        opened = read_anyway(path) if mutations.kind_of(number) in mutations.FORGERIES else ""
        refused, said, damaged = self._refuse(path, mutations.kind_of(number))
        moved = hostile.canaries(outside) != before
        shutil.rmtree(place, ignore_errors=True)
        said = said.replace(str(place), "")
        return Judged(number, mutations.kind_of(number), refused, said, moved, opened, damaged)

    def _refuse(self, path: Path, kind: str) -> tuple[str, str, bool]:
        try:
            folder = bundle_folder(str(path))
        except (UserError, WorkError) as e:
            return "archive", str(e), True
        try:
            loader.load_bundle(folder, self.id)
            damaged = False
        except loader.BundleError:
            damaged = True
        door = check_verified(folder) or check_signed(folder)
        if kind in mutations.VERDICT_ALONE:
            return ("verdict" if door else ""), str(door), damaged
        try:
            verdict = verify_bundle(str(path), signed=True)
        except WorkError as e:  # the verdict is a folder
            return ("verdict" if door else ""), str(e), damaged
        failed = next((c for c in verdict.checks if c.ok is False), None)
        if failed is None or door is None:
            return "", "", damaged
        return failed.name, failed.detail, damaged


def read_anyway(folder: Path) -> str:
    """Reads a forged bundle as somebody who trusts it would, up to where it would be compiled."""
    try:
        for program in ("stablehlo", "onnx"):
            bundle = loader.load_bundle(folder, program=program)
            bundle.examples()
            open_program(folder, program, bundle.signature["programs"][program])
    except loader.BundleError:
        return "refused"
    return "opened"


@contextmanager
def without_programs() -> Iterator[None]:
    """Nothing that is judged may come as far as its program."""

    def reach(*_: Any, **__: Any) -> Any:
        raise Reached

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_module, "_check_behaviour", reach)
        yield


def shorten(said: str) -> str:
    """Returns a sentence without what differs from one mutation to the next."""
    said = re.sub(r"sha256:[0-9a-f]{64}|[0-9a-f]{16,}", "ID", said.splitlines()[0] if said else "")
    return re.sub(r"\d+", "N", said)[:120]


def sample(count: int) -> list[int]:
    """Draws the numbers of mutations that every run of the suite makes, each kind among them."""
    rest = random.Random(0).sample(range(len(mutations.KINDS), mutations.COUNT), count)
    return [*range(len(mutations.KINDS)), *rest][:count]
