"""A bundle as one file: the same bytes everywhere, and nothing else is unpacked."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from lepton_jax import archive
from lepton_jax.archive import bundle_folder, verdict_path, write_archive
from lepton_jax.commands.predict import predict
from lepton_jax.commands.sign import sign
from lepton_jax.commands.verify import verify
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export import verify as verify_module
from lepton_jax.serving import loader
from lepton_jax.signing.keys import make_key_pair
from lepton_jax.signing.signer import find_signer
from lepton_jax.signing.trust import add_key
from tests import graduation, hostile
from tests.registry.tiny import tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def packed(bundle: Path, tmp_path: Path) -> Path:
    write_archive(bundle, str(tmp_path / "b.tar"))
    return tmp_path / "b.tar"


def test_same_bundle_gives_the_same_bytes_whenever_and_wherever_it_is_packed(
    bundle, packed, tmp_path
):
    other = tmp_path / "of another name"
    other.mkdir()
    for path in sorted(bundle.rglob("*"), reverse=True):  # in another order, and another mode
        target = other / path.relative_to(bundle)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, target)
            target.chmod(0o600)
    write_archive(other, str(tmp_path / "other.tar"))
    assert (tmp_path / "other.tar").read_bytes() == packed.read_bytes()


def test_archive_is_a_tar_that_others_can_read(bundle, packed, tmp_path):
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert loader.bundle_id(tmp_path / "out") == loader.bundle_id(bundle)
    assert loader.find_faults(tmp_path / "out") == []


def test_what_is_unpacked_is_the_bundle_and_goes_with_the_process(bundle, packed):
    folder = bundle_folder(str(packed))
    assert loader.bundle_id(folder) == loader.bundle_id(bundle)
    assert loader.find_faults(folder) == []
    assert folder.name == "b.tar"
    assert bundle_folder(str(packed)) != folder
    assert not any(folder.is_relative_to(p) for p in (bundle, packed.parent))


def test_signed_archive_is_the_same_bundle(bundle, packed, tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_TRUST", str(tmp_path / "trusted_keys.json"))
    pair = make_key_pair(str(tmp_path / "alice.pem"))
    add_key(pair.public, "alice")
    signed = sign(bundle=str(packed), key=pair.private)
    assert (signed.path, signed.id) == (str(packed), loader.bundle_id(bundle))
    assert find_signer(bundle_folder(str(packed))).state == "trusted"
    sign(bundle=str(bundle), key=pair.private)
    write_archive(bundle, str(tmp_path / "other.tar"))
    assert (tmp_path / "other.tar").read_bytes() == packed.read_bytes()


def test_archive_is_verified_and_answers(tmp_path, monkeypatch):
    real = graduation.copied(Path(__file__).parent / "golden/old/bundle", tmp_path / "real")
    file = str(tmp_path / "real.tar")
    write_archive(real, file)
    before = Path(file).read_bytes()
    monkeypatch.setattr(verify_module, "_check_behaviour", lambda *_: [])
    verdict = verify(file)
    assert verdict.ok
    assert f"{file}.verdict.json" in str(verdict)
    assert Path(file).read_bytes() == before
    assert (bundle_folder(file) / loader.VERDICT).is_file()
    answers = predict(bundle=file, examples=2)
    assert (
        answers.as_json()["answers"] == predict(bundle=str(real), examples=2).as_json()["answers"]
    )
    os.remove(verdict_path(file))
    os.symlink(real / loader.VERDICT, verdict_path(file))
    with pytest.raises(WorkError, match="is a link"):
        bundle_folder(file)


def test_what_is_no_archive_is_never_overwritten(bundle, tmp_path):
    (tmp_path / "thesis.tex").write_text("five years of work")
    (tmp_path / "link.tar").symlink_to(tmp_path / "thesis.tex")
    for name in ("thesis.tex", "link.tar"):
        with pytest.raises(UserError, match="is no archive of a bundle"):
            write_archive(bundle, str(tmp_path / name))
    assert (tmp_path / "thesis.tex").read_text() == "five years of work"
    graduation.flip(bundle / "programs/forward.bin")
    with pytest.raises(WorkError, match="is damaged"):
        write_archive(bundle, str(tmp_path / "new.tar"))
    assert not (tmp_path / "new.tar").exists()


def member(name: str, data: bytes = b"", **attributes) -> bytes:
    """A member as `tarfile` writes it, with attributes of its own."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    form = tarfile.PAX_FORMAT if attributes.get("pax_headers") else tarfile.GNU_FORMAT
    return info.tobuf(form) + data + bytes(-len(data) % 512)


def sized(name: str, size: int, data: bytes = b"x") -> bytes:
    return member(name, size=size) + data + bytes(-len(data) % 512)


END = bytes(1024)
M = member(loader.MANIFEST, b"{}")

HOSTILE = {
    "traversal": member("../canary", b"x") + M + END,
    "traversal inside": member("a/../../canary", b"x") + M + END,
    "absolute": member("/tmp/canary", b"x") + M + END,
    "dot": member("./a", b"x") + M + END,
    "nothing for a name": member("", b"x") + M + END,
    "control characters": member("a\x1b[2J", b"x") + M + END,
    "backslashes": member("a\\b", b"x") + M + END,
    "not ascii": member("é", b"x") + M + END,
    "long name": member("n" * 200, b"x") + M + END,
    "link out": member("a", type=tarfile.SYMTYPE, linkname="/tmp") + member("a/x", b"x") + M + END,
    "link in": member("a", type=tarfile.SYMTYPE, linkname="manifest.json") + M + END,
    "hard link": member("a", type=tarfile.LNKTYPE, linkname="/etc/hostname") + M + END,
    "device": member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=5) + M + END,
    "block device": member("a", type=tarfile.BLKTYPE, devmajor=1) + M + END,
    "pipe": member("a", type=tarfile.FIFOTYPE) + M + END,
    "folder": member("a", type=tarfile.DIRTYPE) + M + END,
    "contiguous": member("a", b"x", type=tarfile.CONTTYPE) + M + END,
    "sparse": member("a", b"x", type=tarfile.GNUTYPE_SPARSE) + M + END,
    "unknown type": member("a", b"x", type=b"Z") + M + END,
    "pax": member("a", b"x", pax_headers={"path": "../canary"}) + M + END,
    "twice": M + M + END,
    "out of order": M + member("a", b"x") + END,
    "case": member("A", b"x") + member("a", b"x") + M + END,
    "file and folder": member("a", b"x") + member("a/b", b"x") + M + END,
    "mode": member("a", b"x", mode=0o4755) + M + END,
    "owner": member("a", b"x", uname="root") + M + END,
    "time": member("a", b"x", mtime=1) + M + END,
    "bomb": sized("a", 1 << 40) + M + END,
    "negative": sized("a", -512) + M + END,
    "size that lies": sized("a", 2000) + M + END,
    "checksum": M.replace(b"0000644", b"0000755", 1) + END,
    "more than its bytes": M[:-1] + b"x" + END,
    "more behind the end": M + END + b"x",
    "another archive behind the end": M + END + M + END,
    "half an end": M + END[:512],
    "no end": M,
    "cut off": M[:700],
    "nothing": b"",
    "no manifest": member("a", b"x") + END,
    "a verdict": M + member(loader.VERDICT, b'{"ok": true}') + END,
    "too many files": b"".join(member(f"a{i:05}") for i in range(loader.MAX_FILES + 1)) + M + END,
    "no tar": b"PK\x03\x04" + bytes(2000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_is_refused_and_nothing_is_unpacked(tmp_path, monkeypatch, name):
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    scratch.mkdir()
    outside.mkdir()
    (outside / "canary").write_text("as it was")
    before = hostile.canaries(outside)
    monkeypatch.setattr(archive.tempfile, "tempdir", str(scratch))
    file = outside.parent / "b.tar"
    file.write_bytes(HOSTILE[name])
    with pytest.raises(WorkError) as e:
        bundle_folder(str(file))
    said = str(e.value)
    assert said.startswith(f"{file} is no archive of a bundle, as `export --archive` writes it: ")
    assert said.isprintable()
    assert not [p for p in scratch.rglob("*") if not p.is_dir()]
    assert hostile.canaries(outside) == before
    with pytest.raises((UserError, WorkError), match="no archive of a bundle"):
        predict(bundle=str(file), examples=1)


def test_tar_of_the_users_own_is_told_what_writes_archives(bundle, tmp_path):
    with tarfile.open(tmp_path / "own.tar", "w") as tar:
        for path in sorted(bundle.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(bundle).as_posix())
    with pytest.raises(WorkError, match="as `export --archive` writes it"):
        bundle_folder(str(tmp_path / "own.tar"))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_file_that_is_no_plain_one_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "b.tar"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(WorkError, match="is no plain file"):
        bundle_folder(str(path))


def test_every_changed_byte_is_refused_or_found(packed):
    """No byte of an archive is free: each change is refused by the archive or by the manifest."""
    data = packed.read_bytes()
    names = [data.find(b"metrics.json"), data.find(b"ustar"), 130, 500, len(data) - 1, 512 + 3, 511]
    for at in names:
        changed = bytearray(data)
        changed[at] ^= 1
        packed.write_bytes(bytes(changed))
        try:
            folder = bundle_folder(str(packed))
        except WorkError:
            continue
        assert loader.find_faults(folder), at


def test_sizes_beyond_what_octal_digits_hold_are_written_and_read():
    header = archive._header("weights.safetensors", 1 << 35)
    assert archive._read_header(header) == ("weights.safetensors", 1 << 35)
    with pytest.raises(loader.BundleError, match="which are not there"):
        dict(archive._members(io.BytesIO(header + END)))
