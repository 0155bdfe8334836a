"""1,000 mutated bundles and archives, each a function of its number: what strangers might send.

The bundle that they are made of is verified, and signed by a key that the receiver trusts. Some
mutations are those of `tests/hostile.py`, where a file is damaged or replaced. In the others the
attacker knows the formats: the manifest is made anew, the bundle is signed with another key, or the
headers of an archive are right again.
"""

import json
import random
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lepton_jax.errors import WorkError
from lepton_jax.serving import loader
from lepton_jax.signing.signer import sign_folder
from tests import hostile

COUNT = 1_000
VERDICT_ALONE = frozenset({"bad_verdict", "hard_link_out"})
"""Mutations of the verdict: the bundle is what it was, and only the verdict is refused."""

BLOCK = 512
PROGRAM = "programs/stablehlo/forward.bin"

Forgery = Callable[[Path, random.Random], None]


# What a forger changes, before the manifest is made anew.


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 4, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data) + b"\0" * (bytes(data) == path.read_bytes()))


def flip_program(bundle: Path, rng: random.Random) -> None:
    flip(bundle / PROGRAM, rng)


def cut_program(bundle: Path, rng: random.Random) -> None:
    data = (bundle / PROGRAM).read_bytes()
    (bundle / PROGRAM).write_bytes(data[: rng.randrange(len(data))])


def flip_weights(bundle: Path, rng: random.Random) -> None:
    flip(bundle / loader.WEIGHTS, rng)


def flip_onnx(bundle: Path, rng: random.Random) -> None:
    flip(bundle / loader.ONNX, rng)


def flip_examples(bundle: Path, rng: random.Random) -> None:
    flip(bundle / "examples/examples.safetensors", rng)


def edit(name: str) -> Forgery:
    """Puts an odd value somewhere into a JSON file."""

    def forge(bundle: Path, rng: random.Random) -> None:
        document = json.loads((bundle / name).read_text())
        container, key = rng.choice(hostile.places(document))
        old = container[key]
        container[key] = rng.choice([v for v in hostile.ODD if repr(v) != repr(old)])
        (bundle / name).write_text(json.dumps(document))

    forge.__name__ = f"forge_{name.partition('.')[0]}"
    return forge


def better_accuracy(bundle: Path, rng: random.Random) -> None:
    document = json.loads((bundle / "metrics.json").read_text())
    document["test"]["accuracy"] = 0.99 + rng.random() / 100
    (bundle / "metrics.json").write_text(json.dumps(document))


def deep_or_double_json(bundle: Path, rng: random.Random) -> None:
    name = rng.choice(["signature.json", "lineage.json", "metrics.json"])
    text = (bundle / name).read_text().rstrip()
    level = rng.choice([100, 3_000, 200_000])
    texts = [
        text[:-1] + ', "more": ' + "[" * level + "]" * level + "}",
        text[:-1] + ", " + text.lstrip()[1:],
        " " * (loader.MAX_JSON + 1) + text,
        text[:-1] + ', "more": 1' + "0" * 5_000 + "}",
    ]
    (bundle / name).write_text(rng.choice(texts))


FORGERIES: dict[str, Forgery] = {
    f.__name__: f
    for f in (
        flip_program, cut_program, flip_weights, flip_onnx, flip_examples, better_accuracy,
        deep_or_double_json, edit("signature.json"), edit("metrics.json"), edit("lineage.json"),
    )
}  # fmt: skip


def sign_as(how: str, bundle: Path, mallory: Path, alice: str) -> None:
    """Does with the signatures what a forger may: they have a key of their own, and alice's id."""
    if how == "strip the signature":
        for name in (loader.SIGNED, loader.ATTESTED):
            (bundle / name).unlink()
    elif how != "keep the old signature":
        with suppress(WorkError):  # its lineage is not JSON
            sign_folder(bundle, str(mallory))
    if how == "claim the trusted key":
        for name in (loader.SIGNED, loader.ATTESTED):
            document = json.loads((bundle / name).read_text())
            document["verificationMaterial"]["publicKey"]["hint"] = alice
            (bundle / name).write_text(json.dumps(document))


SIGNING = (
    "keep the old signature", "strip the signature", "sign with another key",
    "claim the trusted key",
)  # fmt: skip


# Archives.


def members(data: bytes) -> list[bytes]:
    """Splits an archive into its members, each with its header and padding."""
    found, at = [], 0
    while data[at : at + BLOCK].strip(b"\0"):
        size = int(data[at + 124 : at + 135], 8)
        end = at + BLOCK + size + -size % BLOCK
        found.append(data[at:end])
        at = end
    return found


END = bytes(2 * BLOCK)


def with_header(member: bytes, **changes: Any) -> bytes:
    """Returns a member whose header says something else, with the right checksum."""
    info = tarfile.TarInfo.frombuf(member[:BLOCK], "ascii", "strict")
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)[-BLOCK:] + member[BLOCK:]


def of_the_bundle(parts: list[bytes]) -> list[int]:
    """Lists the members that the manifest lists, and itself; a signature's JSON has white space
    that means nothing."""
    return [i for i, part in enumerate(parts) if b".sig\0" not in part[:BLOCK]]


def archive_bytes(data: bytes, rng: random.Random) -> bytes:
    parts = members(data)
    at = rng.choice(of_the_bundle(parts))
    changed = bytearray(parts[at])
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    parts[at] = bytes(changed)
    return b"".join(parts) + END


def archive_cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) - 1)]


def archive_more(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice([b"x", END, data, rng.randbytes(600)])


def archive_order(data: bytes, rng: random.Random) -> bytes:
    parts = members(data)
    i, j = rng.sample(range(len(parts)), 2)
    parts[i], parts[j] = parts[j], parts[i]
    return b"".join(parts) + END


def archive_twice(data: bytes, rng: random.Random) -> bytes:
    parts = members(data)
    at = rng.randrange(len(parts))
    return b"".join([*parts[: at + 1], *parts[at:]]) + END


def archive_without(data: bytes, rng: random.Random) -> bytes:
    """A file that the manifest lists is left out."""
    parts = members(data)
    del parts[rng.choice(of_the_bundle(parts))]
    return b"".join(parts) + END


def archive_header(data: bytes, rng: random.Random) -> bytes:
    """A header that is right in itself, and says what none of ours does."""
    parts = members(data)
    at = rng.randrange(len(parts))
    changes: list[dict[str, Any]] = [
        {"type": t}
        for t in (
            tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
            tarfile.DIRTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, b"Z",
        )
    ]  # fmt: skip
    changes += [{"name": n} for n in ("../x", "/x", "a/../../x", "./x", "x\\y", "n" * 90 + "/..")]
    changes += [{"mode": 0o4755}, {"uid": 0, "gname": "root"}, {"mtime": 1}, {"linkname": "/etc"}]
    changes += [{"size": s} for s in (0, 1, 1 << 20, 1 << 40)]
    parts[at] = with_header(parts[at], **rng.choice(changes))
    return b"".join(parts) + END


def archive_foreign(data: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"PK\x03\x04" + data, rng.randbytes(4_000), b"", data[BLOCK:], data[::-1]])


ARCHIVES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    f.__name__: f
    for f in (
        archive_bytes, archive_cut, archive_more, archive_order, archive_twice, archive_without,
        archive_header, archive_foreign,
    )
}  # fmt: skip

KINDS = (*hostile.MUTATIONS, *FORGERIES, *ARCHIVES)


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def mutate(
    number: int, bundle: Path, outside: Path, mallory: Path, alice: str, packed: bytes
) -> Path:
    """Makes mutation `number` of the copy `bundle`; returns the folder or archive to be judged.

    Args:
      outside: a folder with canaries, into which links may lead.
      mallory: the forger's private key.
      alice: the id of the trusted key.
      packed: the bundle as an archive.
    """
    kind, rng = kind_of(number), random.Random(number)
    if kind in ARCHIVES:
        file = bundle.parent / "b.tar"
        file.write_bytes(ARCHIVES[kind](packed, rng))
        shutil.copyfile(bundle / loader.VERDICT, f"{file}.{loader.VERDICT}")
        return file
    if kind in FORGERIES:
        FORGERIES[kind](bundle, rng)
        hostile.rewrite_manifest(bundle)
        sign_as(rng.choice(SIGNING), bundle, mallory, alice)
        return bundle
    hostile.MUTATIONS[kind](bundle, rng, outside)
    return bundle
