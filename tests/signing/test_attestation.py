"""What is stated of a bundle's making is what the bundle says of itself, or it is refused."""

import base64
import json
import re
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.commands.sign import sign
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export.verify import verify_bundle
from lepton_jax.serving import loader
from lepton_jax.signing.envelope import sign_payload
from lepton_jax.signing.keys import read_private_key
from lepton_jax.signing.signer import find_attester, sign_folder
from lepton_jax.signing.trust import add_key, revoke_key
from tests import graduation
from tests.replay.forge import rewrite_rows

LINEAGE = {
    "chain": {"step": 8, "rows": 2, "metrics": "a1", "state": "b2", "link": "c3"},
    "code": {"commit": "c0ffee", "diff_sha256": None},
    "components": {"my_pkg.nets": "d4"},
    "config": {"model": {"name": "mlp"}, "seed": 0},
    "config_fingerprint": "e5",
    "data_fingerprint": "f6",
    "package": "07",
    "packages": {"jax": "0.10.2"},
    "step": 8,
}
REPLAY = {"all_spans": 4, "compared": "bits", "draws": 1, "seed": 3, "spans": [[0, 2]]}


@pytest.fixture
def attested(bundle: Path, alice) -> Path:
    (bundle / "lineage.json").write_text(json.dumps(LINEAGE))
    graduation.rewrite_manifest(bundle)
    add_key(alice.public, "alice")
    sign_folder(bundle, alice.private, [REPLAY])
    return bundle


def statement(bundle: Path):
    document = json.loads((bundle / loader.ATTESTED).read_bytes())
    return json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))


def test_statement_is_slsas_and_names_all_that_the_bundle_was_made_from(attested):
    said = statement(attested)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    digests = {s["name"]: s["digest"]["sha256"] for s in said["subject"]}
    assert f"sha256:{digests[loader.MANIFEST]}" == loader.bundle_id(attested)
    text = json.dumps(said["predicate"])
    for value in ("c0ffee", "d4", "mlp", "e5", "f6", "07", "0.10.2", "a1", "b2", "c3"):
        assert f'"{value}"' in text, value
    attester, replays = find_attester(attested)
    assert (attester.state, attester.name, replays) == ("trusted", "alice", [REPLAY])
    assert loader.find_faults(attested) == []


def another_bundles(bundle, alice, mallory):
    """The statement of a bundle that was made otherwise."""
    other = graduation.copied(bundle, bundle.parent / "other")
    (other / "lineage.json").write_text(json.dumps({**LINEAGE, "data_fingerprint": "99"}))
    graduation.rewrite_manifest(other)
    sign_folder(other, alice.private)
    (other / loader.ATTESTED).rename(bundle / loader.ATTESTED)


def stated(change):
    """Alice herself states what the bundle does not say."""

    def forge(bundle, alice, mallory):
        said = statement(bundle)
        change(said["predicate"])
        text = sign_payload(json.dumps(said).encode(), read_private_key(alice.private))
        (bundle / loader.ATTESTED).write_bytes(text)

    return forge


def other_config(predicate):
    predicate["buildDefinition"]["externalParameters"]["config"]["seed"] = 1


def other_chain(predicate):
    predicate["runDetails"]["metadata"]["invocationId"] = "c4"


def other_code(predicate):
    predicate["buildDefinition"]["resolvedDependencies"][2]["digest"]["gitCommit"] = "bad"


def flipped(bundle, alice, mallory):
    document = json.loads((bundle / loader.ATTESTED).read_bytes())
    payload = bytearray(base64.b64decode(document["dsseEnvelope"]["payload"]))
    payload[200] ^= 1
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (bundle / loader.ATTESTED).write_text(json.dumps(document))


def more_replays_by_mallory(bundle, alice, mallory):
    """Mallory signs a better statement and names Alice's key."""
    said = statement(bundle)
    said["predicate"]["runDetails"]["byproducts"][-1]["annotations"]["draws"] = 99
    text = sign_payload(json.dumps(said).encode(), read_private_key(mallory.private))
    (bundle / loader.ATTESTED).write_bytes(text.replace(mallory.id.encode(), alice.id.encode()))


def no_statement(bundle, alice, mallory):
    (bundle / loader.ATTESTED).write_bytes(sign_payload(b"[1]", read_private_key(alice.private)))


def revoked(bundle, alice, mallory):
    revoke_key("alice", "lost")


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (another_bundles, r"subject\[0\]|fingerprint"),
        (stated(other_config), "externalParameters.config.seed is not that of this bundle"),
        (stated(other_chain), "invocationId is not that of this bundle"),
        (stated(other_code), r"resolvedDependencies\[2\].digest.gitCommit is not"),
        (flipped, "the signature is not that of this key"),
        (more_replays_by_mallory, "the signature is not that of this key"),
        (no_statement, "what is signed cannot be read"),
        (revoked, "was revoked"),
    ],
)
def test_false_statement_is_refused_and_named(attested, alice, mallory, forge, said):
    forge(attested, alice, mallory)
    attester, replays = find_attester(attested)
    assert attester.state in ("invalid", "revoked")
    assert replays == ()
    verdict = verify_bundle(str(attested))
    assert not verdict.ok
    assert re.search(said, str(verdict)), str(verdict)


def test_unknown_key_states_and_nothing_of_it_is_believed(attested, mallory):
    sign_folder(attested, mallory.private, [REPLAY])
    attester, replays = find_attester(attested)
    assert (attester.state, replays) == ("unknown", ())


@pytest.mark.slow
def test_run_is_replayed_before_it_is_attested(tmp_path, alice):
    config = {
        "model": {"name": "mlp", "features": (8,)},
        "task": {"name": "image_classification"},
        "data": {"source": {"name": "generated_images", "classes": 4, "examples": 150}},
        "optimizer": {"name": "sgd", "learning_rate": 1e-2},
        **{"batch_size": 16, "train_for": "20 steps", "evaluate_every": "10 steps"},
        **{"checkpoint_every": "5 steps", "keep_last": 9, "writers": {}, "log_every": "5 steps"},
    }
    run, bundle = str(tmp_path / "run"), str(tmp_path / "bundle")
    lepton_jax.train(config, run)
    lepton_jax.train({**config, "seed": 1}, str(tmp_path / "other"))
    lepton_jax.export(run, bundle, checkpoint="last")
    add_key(alice.public, "alice")
    sign(bundle=bundle, key=alice.private, workdir=run, spans=9)
    verdict = lepton_jax.verify(bundle, signed=True)
    assert verdict.ok, verdict
    assert "4 of 4 spans were replayed, the same to the bit" in str(verdict)
    with pytest.raises(UserError, match="is not of this run"):
        sign(bundle=bundle, key=alice.private, workdir=str(tmp_path / "other"))
    rewrite_rows(tmp_path / "run", lambda row: row.update({"train/loss": 0.0}))
    with pytest.raises(WorkError, match="its run does not hold"):
        sign(bundle=bundle, key=alice.private, workdir=run)
