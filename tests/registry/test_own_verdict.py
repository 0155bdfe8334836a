"""A verdict that a bundle brings is its maker's word: only those that were made here count."""

import json

import pytest

from lepton_jax import api
from lepton_jax.errors import WorkError
from lepton_jax.io.paths import cache_root
from lepton_jax.registry.gating import try_gate
from lepton_jax.registry.promotion import promote_version
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.serving import loader
from tests.graduation import rewrite_manifest
from tests.registry.tiny import tiny_bundle

pytestmark = pytest.mark.usefixtures("registry_root")


def forged(bundle):
    """The bundle with other answers among its examples, and a verdict that praises it."""
    metrics = json.loads((bundle / "metrics.json").read_text())
    metrics["test"]["accuracy"] = 1.0
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    rewrite_manifest(bundle)
    verdict = json.loads((bundle / loader.VERDICT).read_text())
    verdict["id"] = loader.bundle_id(bundle)
    (bundle / loader.VERDICT).write_text(json.dumps(verdict))
    return str(bundle)


def test_verdict_from_elsewhere_is_not_believed(bundle):
    path = forged(bundle)
    with pytest.raises(WorkError, match="unverified: its verdict was not made here"):
        register_bundle(path, "m")
    decision = promote_version(bundle=path, model="m")
    assert [r.kind for r in decision.refusals] == ["unverified"]
    with pytest.raises(WorkError, match=r"unverified: verification failed \(test set"):
        api.register(path, "m")
    decision = api.promote(bundle=path, model="m")
    assert [r.kind for r in decision.refusals] == ["unverified"]
    assert Registry().models() == []


def test_bundle_without_a_verdict_of_ours_is_verified_and_registered(bundle, capsys):
    (bundle / loader.VERDICT).unlink()
    assert api.register(str(bundle), "m").version == 1
    assert "is verified first: no verdict on it was made here" in capsys.readouterr().err
    assert api.register(str(bundle), "m").version == 1  # believed now
    assert capsys.readouterr().err == ""
    assert promote_version(model="m").ok


def test_note_is_of_one_bundle_and_one_verdict(tmp_path):
    bundle, other = tiny_bundle(tmp_path / "a", 0.8), tiny_bundle(tmp_path / "b", 0.7)
    register_bundle(str(bundle), "m")
    text = (bundle / loader.VERDICT).read_text()
    (bundle / loader.VERDICT).write_text(text.replace('"checks"', ' "checks"'))
    with pytest.raises(WorkError, match="not made here"):
        register_bundle(str(bundle), "m")
    assert "not made here" in str(try_gate("m", str(bundle)))
    (other / loader.VERDICT).write_text(text)
    with pytest.raises(WorkError, match="changed: the verdict is of"):
        register_bundle(str(other), "m")
    assert not any(p.stat().st_size for p in (cache_root() / "verdicts").iterdir())
