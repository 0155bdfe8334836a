"""Who signed a bundle: what is accepted is what a trusted key signed, and nothing else is."""

import base64
import json
import os
from pathlib import Path

import pytest

from lepton_jax.commands.predict import predict
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export.verify import verify_bundle
from lepton_jax.serving import loader
from lepton_jax.signing.envelope import sign_payload
from lepton_jax.signing.keys import read_private_key
from lepton_jax.signing.signer import find_signer, sign_folder
from lepton_jax.signing.trust import add_key, revoke_key
from tests import graduation
from tests.registry.tiny import tiny_bundle


@pytest.fixture
def signed(bundle, alice):
    add_key(alice.public, "alice")
    sign_folder(bundle, alice.private)
    return bundle


def document(bundle: Path):
    return json.loads((bundle / loader.SIGNED).read_bytes())


def statement(bundle: Path):
    return json.loads(base64.b64decode(document(bundle)["dsseEnvelope"]["payload"]))


def write(bundle: Path, value) -> None:
    (bundle / loader.SIGNED).write_text(json.dumps(value))


def test_signed_bundle_keeps_its_id_and_names_its_signer(bundle, alice):
    before = loader.bundle_id(bundle)
    add_key(alice.public, "alice")
    said = sign_folder(bundle, alice.private)
    assert (said.id, said.key, said.signer) == (before, alice.id, "alice")
    assert loader.bundle_id(bundle) == before
    assert loader.find_faults(bundle) == []
    signer = find_signer(bundle)
    assert (signer.state, signer.key, signer.name) == ("trusted", alice.id, "alice")


def test_same_bundle_and_key_give_the_same_bytes(bundle, alice, tmp_path):
    sign_folder(bundle, alice.private)
    other = tiny_bundle(tmp_path / "of another name")
    sign_folder(other, alice.private)
    assert (other / loader.SIGNED).read_bytes() == (bundle / loader.SIGNED).read_bytes()


def test_damaged_bundle_is_not_signed(bundle, alice):
    graduation.flip(bundle / "programs/forward.bin")
    with pytest.raises(WorkError, match=r"is damaged: programs/forward\.bin"):
        sign_folder(bundle, alice.private)
    assert not (bundle / loader.SIGNED).exists()


def test_unsigned_and_unknown_are_told_apart(bundle, mallory):
    assert find_signer(bundle).state == "unsigned"
    sign_folder(bundle, mallory.private)
    signer = find_signer(bundle)
    assert (signer.state, signer.key, signer.name) == ("unknown", mallory.id, "")


def edit_a_file(bundle, alice, mallory):
    """A forger changes a file and writes the manifest anew."""
    (bundle / "programs/forward.bin").write_bytes(b"another")
    graduation.rewrite_manifest(bundle)


def add_a_file(bundle, alice, mallory):
    (bundle / "more").write_text("x")
    graduation.rewrite_manifest(bundle)


def remove_a_file(bundle, alice, mallory):
    (bundle / "lineage.json").unlink()
    graduation.rewrite_manifest(bundle)


def take_another_bundles(bundle, alice, mallory):
    other = tiny_bundle(bundle.parent / "other", accuracy=0.5)
    sign_folder(other, alice.private)
    (other / loader.SIGNED).rename(bundle / loader.SIGNED)


def claim_to_be_alice(bundle, alice, mallory):
    """Mallory signs, and names Alice's key."""
    edit_a_file(bundle, alice, mallory)
    sign_folder(bundle, mallory.private)
    value = document(bundle)
    value["verificationMaterial"]["publicKey"]["hint"] = alice.id
    write(bundle, value)


def edit_the_statement(bundle, alice, mallory):
    value, inner = document(bundle), statement(bundle)
    inner["predicate"]["resources"].pop()
    value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(inner).encode()).decode()
    write(bundle, value)


def flip_the_signature(bundle, alice, mallory):
    value = document(bundle)
    (first,) = value["dsseEnvelope"]["signatures"]
    raw = bytearray(base64.b64decode(first["sig"]))
    raw[-1] ^= 1
    first["sig"] = base64.b64encode(raw).decode()
    write(bundle, value)


def sign_nonsense(payload: bytes):
    def mutate(bundle, alice, mallory):
        (bundle / loader.SIGNED).write_bytes(sign_payload(payload, read_private_key(alice.private)))

    return mutate


def sign_a_changed_statement(change):
    """Alice herself signs a statement that is not what it must be."""

    def mutate(bundle, alice, mallory):
        inner = statement(bundle)
        change(inner)
        sign_nonsense(json.dumps(inner).encode())(bundle, alice, mallory)

    return mutate


def write_bytes(data: bytes):
    return lambda bundle, alice, mallory: (bundle / loader.SIGNED).write_bytes(data)


def edit(change):
    def mutate(bundle, alice, mallory):
        value = document(bundle)
        change(value)
        write(bundle, value)

    return mutate


def link(bundle, alice, mallory):
    (bundle / loader.SIGNED).rename(bundle.parent / "moved")
    (bundle / loader.SIGNED).symlink_to(bundle.parent / "moved")


def fifo(bundle, alice, mallory):
    (bundle / loader.SIGNED).unlink()
    os.mkfifo(bundle / loader.SIGNED)


def sparse(bundle, alice, mallory):
    with open(bundle / loader.SIGNED, "r+b") as f:
        f.truncate(1 << 33)


FORGERIES = {
    f.__name__: f
    for f in (
        edit_a_file, add_a_file, remove_a_file, take_another_bundles, claim_to_be_alice,
        edit_the_statement, flip_the_signature, link, fifo, sparse,
    )
} | {
    "nonsense is signed": sign_nonsense(b"[]"),
    "a bomb is signed": sign_nonsense(b"[" * 100_000),
    "no file is stated": sign_a_changed_statement(lambda s: s["predicate"]["resources"].clear()),
    "another digest over all": sign_a_changed_statement(
        lambda s: s["subject"][0]["digest"].update(sha256="0" * 64)
    ),
    "a file twice": sign_a_changed_statement(
        lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0])
    ),
    "another kind of statement": sign_a_changed_statement(lambda s: s.update(predicateType="x")),
    "nothing": write_bytes(b""),
    "no JSON": write_bytes(b"{'a': 1}"),
    "a list": write_bytes(b"[]"),
    "deep": write_bytes(b'{"a":' * 500 + b"1" + b"}" * 500),
    "very deep": write_bytes(b"[" * 100_000),
    "a key twice": write_bytes(b'{"mediaType": "x", "mediaType": "y"}'),
    "another type": edit(lambda v: v.update(mediaType="application/json")),
    "another payload type": edit(lambda v: v["dsseEnvelope"].update(payloadType="text/plain")),
    "no signature": edit(lambda v: v["dsseEnvelope"].update(signatures=[])),
    "two signatures": edit(lambda v: v["dsseEnvelope"]["signatures"].append({"sig": ""})),
    "no base64": edit(lambda v: v["dsseEnvelope"].update(payload="*")),
    "a certificate": edit(lambda v: v.update(verificationMaterial={"certificate": {}})),
    "an id that is none": edit(lambda v: v["verificationMaterial"]["publicKey"].update(hint="x")),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_is_refused_by_every_door_before_the_manifest_is_parsed(
    signed, alice, mallory, name, monkeypatch
):
    FORGERIES[name](signed, alice, mallory)
    signer = find_signer(signed)
    assert signer.state == "invalid", signer
    assert str(signer).isprintable()
    with pytest.raises(WorkError, match="is not used: signature: "):
        predict(bundle=str(signed), examples=1)
    parsed: list[bytes] = []
    monkeypatch.setattr(loader, "find_faults", lambda folder: parsed.append(b"all") or [])
    verdict = verify_bundle(str(signed))
    assert [(c.name, c.ok) for c in verdict.checks] == [("signed", False)]
    assert not parsed


def test_nothing_of_a_bundle_is_parsed_before_its_signature_is_right(signed, alice, monkeypatch):
    parsed: list[bytes] = []
    parse = loader.parse_json
    monkeypatch.setattr(loader, "parse_json", lambda text: parsed.append(text) or parse(text))
    (signed / loader.MANIFEST).write_bytes(b"[" * 1000)
    assert not verify_bundle(str(signed)).ok
    assert (signed / loader.MANIFEST).read_bytes() not in parsed
    assert parsed


def test_revoked_key_is_refused_for_all_that_it_signed(signed, alice):
    revoke_key("alice", "the laptop is lost")
    assert find_signer(signed).state == "revoked"
    with pytest.raises(WorkError, match="the laptop is lost"):
        predict(bundle=str(signed), examples=1)
    verdict = verify_bundle(str(signed))
    assert not verdict.ok
    assert "have it signed with another key" in str(verdict)


def test_rotation_adds_a_key_signs_again_and_revokes_the_old_one(signed, alice, mallory, tmp_path):
    old = graduation.copied(signed, tmp_path / "old")
    add_key(mallory.public, "alice")
    sign_folder(signed, mallory.private)
    revoke_key(alice.id, "a new key took its place")
    assert (find_signer(signed).state, find_signer(signed).key) == ("trusted", mallory.id)
    assert find_signer(old).state == "revoked"


@pytest.mark.parametrize(("state", "wanted"), [("unsigned", "not signed"), ("unknown", "by key ")])
def test_demanded_signature_is_missed(bundle, mallory, state, wanted):
    if state == "unknown":
        sign_folder(bundle, mallory.private)
    verdict = verify_bundle(str(bundle), signed=True)
    assert not verdict.ok
    assert str(verdict.checks[0]).startswith(f"  FAILED signed: {wanted}")


def test_signature_by_the_tool_of_openssf_is_checked(bundle):
    """`model_signing` 1.1.1 signed this bundle: its file is kept here."""
    here = Path(__file__).parent
    (bundle / loader.SIGNED).write_bytes((here / "model_signing.sig").read_bytes())
    add_key(str(here / "model_signing.pub"), "them")
    assert find_signer(bundle).state == "trusted"
    edit_a_file(bundle, None, None)
    assert find_signer(bundle).state == "invalid"


@pytest.mark.slow
def test_tool_of_openssf_and_we_check_each_other(bundle, alice):
    pytest.importorskip("OpenSSL")
    signing = pytest.importorskip("model_signing.signing")
    verifying = pytest.importorskip("model_signing.verifying")
    add_key(alice.public, "alice")
    file = bundle / loader.SIGNED
    check = verifying.Config().use_elliptic_key_verifier(public_key=Path(alice.public))
    sign_folder(bundle, alice.private)
    check.verify(bundle, file)
    file.unlink()
    signing.Config().use_elliptic_key_signer(private_key=Path(alice.private)).sign(bundle, file)
    assert find_signer(bundle).state == "trusted"
    graduation.flip(bundle / "programs/forward.bin")
    with pytest.raises(ValueError, match="Hash mismatch"):
        check.verify(bundle, file)


def test_key_of_another_kind_is_refused(bundle, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    keys = {"p384": ec.generate_private_key(ec.SECP384R1())}
    keys["ed25519"] = ed25519.Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    for name, key in keys.items():
        file = tmp_path / f"{name}.pem"
        file.write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
        with pytest.raises(UserError, match=r"expected EC P-256"):
            sign_folder(bundle, str(file))
    secret = keys["p384"].private_bytes(*form, serialization.BestAvailableEncryption(b"word"))
    (tmp_path / "secret.pem").write_bytes(secret)
    with pytest.raises(UserError, match="has a password"):
        sign_folder(bundle, str(tmp_path / "secret.pem"))
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(UserError, match=r"holds no private key.*sign --new_key"):
        sign_folder(bundle, str(tmp_path / "text.pem"))
