"""The list of trusted keys: what `trust` does, and that a damaged list is never an empty one."""

import json
import os

import pytest

from lepton_jax.commands.sign import sign
from lepton_jax.commands.trust import trust
from lepton_jax.errors import UserError, WorkError
from lepton_jax.signing.keys import make_key_pair
from lepton_jax.signing.trust import read_trust_list


def test_keys_are_added_listed_and_revoked(alice, own_list):
    assert "no keys yet" in str(trust())
    assert not own_list.exists()
    trust(["add", alice.public], name="Alice of the lab")
    (key,) = trust(["list"]).keys
    assert (key.id, key.name, key.revoked) == (alice.id, "Alice of the lab", None)
    said = str(trust(["revoke", alice.id[:12]], reason="lost"))
    assert "Revoked: Alice of the lab" in said
    (key,) = read_trust_list().keys
    assert key.revoked
    assert key.reason == "lost"
    with pytest.raises(UserError, match="is revoked already"):
        trust(["revoke", alice.id])
    with pytest.raises(UserError, match=r"was revoked on .*: make a new key"):
        trust(["add", alice.public])


def test_key_is_meant_by_its_name_where_one_has_it(alice, mallory):
    trust(["add", alice.public], name="alice")
    trust(["add", mallory.public], name="alice")
    with pytest.raises(UserError, match=f"expected one key.*{mallory.id[:16]}"):
        trust(["revoke", "alice"])
    trust(["revoke", alice.id])
    trust(["revoke", "alice"])
    assert all(key.revoked for key in read_trust_list().keys)


def test_mistakes_name_what_there_is(alice):
    trust(["add", alice.public])
    with pytest.raises(UserError, match=r"did you mean 'alice'"):
        trust(["revoke", "alise"])
    with pytest.raises(UserError, match=r"did you mean 'revoke'"):
        trust(["revok", "alice"])
    with pytest.raises(UserError, match="stays secret"):
        trust(["add", alice.private])
    with pytest.raises(UserError, match="is there"):
        trust(["add", alice.public])
    with pytest.raises(UserError, match="takes one file"):
        trust(["add"])
    with pytest.raises(UserError, match="there is no such file"):
        trust(["add", f"{alice.public}x"])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format_version": 2, "keys": []}', '{"format_version": 1, "keys": [{}]}',
     '{"format_version": 1, "keys": [{"id": 3}]}', '{"format_version": 1, "keys": {}}', '{"a": 1'],
)  # fmt: skip
def test_damaged_list_is_an_error_and_stays_as_it_is(alice, own_list, text):
    trust(["add", alice.public])
    own_list.write_text(text)
    for act in (lambda: trust(["list"]), lambda: trust(["revoke", "alice"])):
        with pytest.raises(WorkError):
            act()
    assert own_list.read_text() == text


def test_new_key_is_the_owners_alone_and_overwrites_nothing(tmp_path):
    file = tmp_path / "keys" / "bob.pem"
    pair = sign(new_key=str(file))
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert pair.public == str(tmp_path / "keys" / "bob.pub")
    before = file.read_bytes()
    with pytest.raises(UserError, match="never overwritten"):
        make_key_pair(str(file))
    assert file.read_bytes() == before
    json.dumps(pair.as_json())


def test_sign_says_what_is_missing(bundle, alice):
    for given in ({}, {"bundle": str(bundle)}, {"key": alice.private}):
        with pytest.raises(UserError, match="sign what"):
            sign(**given)
    with pytest.raises(UserError, match="signs nothing"):
        sign(bundle=str(bundle), new_key="x.pem")
