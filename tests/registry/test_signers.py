"""Who signed a version: the registry says it, and a gate demands it."""

import pytest

from lepton_jax.errors import UserError, WorkError
from lepton_jax.registry import signing, views
from lepton_jax.registry.gating import set_gate
from lepton_jax.registry.promotion import promote_version
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.serving import loader
from lepton_jax.signing.keys import KeyPair, make_key_pair
from lepton_jax.signing.signer import sign_folder
from lepton_jax.signing.trust import add_key, revoke_key
from tests.registry.tiny import tiny_bundle

pytestmark = pytest.mark.usefixtures("registry_root")


@pytest.fixture(autouse=True)
def alice(tmp_path, monkeypatch) -> KeyPair:
    monkeypatch.setenv("LEPTON_JAX_TRUST", str(tmp_path / "trusted_keys.json"))
    pair = make_key_pair(str(tmp_path / "alice.pem"))
    add_key(pair.public, "alice")
    return pair


def test_version_names_its_signer_and_a_gate_demands_one(tmp_path, alice):
    bundle = tiny_bundle(tmp_path / "bundle")
    version = register_bundle(str(bundle), "m")
    assert version.signer == ""
    assert set_gate("m", ["test/accuracy>=0.5", " signed"]).conditions[1] == "signed"
    refused = promote_version(model="m")
    assert [r.kind for r in refused.refusals] == ["signature"]
    assert "not signed; sign it: " in str(refused)

    sign_folder(bundle, alice.private)
    again = register_bundle(str(bundle), "m")  # the version gets the signature
    assert (again.version, again.id, again.signer) == (1, version.id, alice.id)
    assert "signed by alice" in str(again)
    assert promote_version(model="m").ok
    shown = views.show_model("m")
    assert "alice" in str(shown)
    assert shown.as_json()["signers"][0]["state"] == "trusted"

    revoke_key("alice", "lost")
    assert "alice (revoked)" in str(views.show_model("m"))
    refused = promote_version(model="m", to="production")
    assert [r.kind for r in refused.refusals] == ["signature"]
    with pytest.raises(WorkError, match=r"not registered: signature: .*was revoked"):
        register_bundle(str(bundle), "m")


def test_key_that_is_not_trusted_takes_no_signature_away(tmp_path, alice):
    bundle = tiny_bundle(tmp_path / "bundle")
    sign_folder(bundle, alice.private)
    register_bundle(str(bundle), "m")
    sign_folder(bundle, make_key_pair(str(tmp_path / "other.pem")).private)
    assert register_bundle(str(bundle), "m").signer == alice.id
    copy = Registry().fetch(Registry().version("m", 1), fresh=True)
    assert loader.find_faults(copy) == []
    set_gate("m", ["signed"])
    assert promote_version(model="m").ok


@pytest.mark.parametrize("uploaded", [True, False])
def test_signature_that_a_kill_left_half_taken_over_is_named_by_the_next_reader(
    tmp_path, alice, monkeypatch, uploaded
):
    bundle = tiny_bundle(tmp_path / "bundle")
    register_bundle(str(bundle), "m")
    sign_folder(bundle, alice.private)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if uploaded:
            patch.setattr(signing, "name_signer", die)
        else:
            patch.setattr("mlflow.MlflowClient.log_artifact", die)
        with pytest.raises(KeyboardInterrupt):
            register_bundle(str(bundle), "m")
    assert Registry().version("m", 1).signer == (alice.id if uploaded else "")
    assert ("alice" in str(views.show_model("m"))) is uploaded
    assert register_bundle(str(bundle), "m").signer == alice.id


def test_gate_is_a_bound_or_the_word_signed(tmp_path):
    register_bundle(str(tiny_bundle(tmp_path / "bundle")), "m")
    with pytest.raises(UserError, match=r"did you mean 'signed'"):
        set_gate("m", ["sined"])
