"""The gate that a config states, which counts beside the registry's; and corrupted inputs."""

from pathlib import Path

import numpy as np
import pytest

from lepton_jax.commands.registry import registry as registry_command
from lepton_jax.config.gate_text import LONGEST, MOST
from lepton_jax.export.verify import verify_bundle
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.judge import judge_by_gate
from lepton_jax.registry.gating import set_gate
from lepton_jax.registry.promotion import promote_version, read_history
from lepton_jax.registry.store import register_bundle
from lepton_jax.serving import loader
from tests.graduation import state_gate

pytestmark = pytest.mark.usefixtures("registry_root")


def judged(bundle: Path, *gate: str) -> dict[str, bool]:
    return {f.condition: f.met for f in judge_by_gate(gate, Evidence(bundle, "m/1"))}


def test_gate_of_the_config_counts_beside_that_of_the_registry_and_only_tightens(bundle):
    state_gate(bundle, "test/accuracy>=0.999, robust(noise,1)>=0.5,robust(blur,5)>=0.9999")
    verdict = verify_bundle(str(bundle))
    assert verdict.ok, verdict
    assert verdict.robustness is not None
    assert verdict.robustness.right.keys() == {"noise,1", "blur,5"}
    assert verdict.robustness.examples == 360
    register_bundle(str(bundle), "m")
    set_gate("m", ["test/accuracy>=0.5", "robust(noise,1)>=0.5"])
    tried = registry_command(["gate"], model="m", try_=str(bundle))
    assert not tried.ok
    assert "REFUSED test/accuracy>=0.999 (of the config): test/accuracy is 0.9" in str(tried)
    assert "ok      robust(noise,1)>=0.5: robust(noise,1) is 0.9" in str(tried)
    assert str(tried).count("robust(noise,1)>=0.5") == 1  # both ask for it
    assert "whose robust(noise,1) is 0.49 passes " in str(tried)
    decision = promote_version(model="m")
    assert [r.kind for r in decision.refusals] == ["below the gate", "below the gate"]
    assert "(the config of its run asks for test/accuracy>=0.999)" in str(decision)
    assert "the config of its run asks for robust(blur,5)" in str(read_history("m"))
    assert promote_version(model="m", force="urgent", by="ana").ok

    state_gate(bundle, "lower(robust(noise,1))>=0.5")
    assert verify_bundle(str(bundle)).ok
    register_bundle(str(bundle), "m")
    decision = promote_version(model="m")
    assert decision.ok
    asked = "test/accuracy>=0.5, robust(noise,1)>=0.5, lower(robust(noise,1))>=0.5 (of the config)"
    assert f"gate met: {asked}" in str(decision)
    set_gate("m", ["test/accuracy>=0.99999"])
    assert not promote_version(model="m").ok  # a config loosens nothing


@pytest.mark.parametrize(
    "gate", ["recall(", "a" * (LONGEST + 1), ",".join(["a>=1"] * (MOST + 1)), ["signed"], 3]
)
def test_gate_of_a_config_that_cannot_be_read_is_never_met(bundle, gate):
    state_gate(bundle, gate)
    assert judged(bundle) == {"the gate of the config": False}


def test_config_without_a_gate_asks_for_nothing(bundle):
    assert judged(bundle) == {}
    state_gate(bundle, "")
    assert judged(bundle, "test/accuracy>=0.5") == {"test/accuracy>=0.5": True}


def test_robustness_that_was_not_measured_is_refused_with_what_helps(bundle):
    (found,) = judge_by_gate(["robust(noise,3)>=0.9"], Evidence(bundle, "m/1"))
    assert found.refusal is not None
    assert found.refusal.kind == "no evidence"
    assert "verify --bundle=DIR --robust" in found.refusal.cure


def test_robustness_falls_with_severity_and_renews_the_verdict_of_a_version(bundle):
    register_bundle(str(bundle), "m")
    set_gate("m", ["robust(contrast,5)<=0.99"])
    assert not promote_version(model="m").ok
    verdict = verify_bundle(str(bundle), robust=True)
    assert verdict.robustness is not None
    right = verdict.robustness.right
    assert len(right) == 25
    for name in ("noise", "blur", "contrast"):
        assert right[f"{name},5"] <= right[f"{name},1"] + 3
    assert right["noise,5"] < 360
    assert f"{min(right.values()) / 360:.4g}, robust(" in str(verdict)
    register_bundle(str(bundle), "m")
    assert promote_version(model="m").ok
    # What the verdict says is what the bundle's program answers here as well.
    from lepton_jax.data.sources.digits import digits
    from lepton_jax.evaluation.corruptions import corrupt_images

    test = digits().splits["test"].columns
    answers = loader.load_bundle(bundle).predict(
        {"image": corrupt_images(np.asarray(test["image"]), "noise", 3)}
    )
    assert (answers["label"] == test["label"]).sum() == right["noise,3"]
