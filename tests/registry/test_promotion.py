import json

import pytest

from lepton_jax.commands.promote import promote
from lepton_jax.commands.registry import registry as registry_command
from lepton_jax.console import format_command, format_program
from lepton_jax.errors import UserError, WorkError
from lepton_jax.registry import history, views
from lepton_jax.registry.difference import diff_versions
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.grammar import parse_condition
from lepton_jax.registry.gate.judge import judge_by_gate
from lepton_jax.registry.gating import set_gate, try_gate
from lepton_jax.registry.history import GATE_TAG
from lepton_jax.registry.promotion import promote_version, read_history, roll_back_alias
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.serving import loader
from tests.graduation import flip, rewrite_manifest

pytestmark = pytest.mark.usefixtures("registry_root")


def kinds(decision):
    assert not decision.ok
    return [r.kind for r in decision.refusals]


def test_promotion_of_a_bundle_registers_it_once_and_moves_the_alias(bundle):
    decision = promote_version(bundle=str(bundle), model="digits", to="staging")
    assert decision.ok
    assert (decision.version, decision.previous) == (1, None)
    assert decision.id == loader.bundle_id(bundle)
    assert Registry().resolve("digits@staging").id == decision.id
    again = promote_version(bundle=str(bundle), model="digits", to="production")
    assert (again.ok, again.version) == (True, 1)
    assert [v.version for v in Registry().versions("digits")] == [1]
    assert register_bundle(str(bundle), "digits").aliases == ("production", "staging")


def test_bundle_of_one_name_needs_no_name_again(bundle):
    with pytest.raises(UserError, match="not registered yet: give --model=NAME"):
        promote_version(bundle=str(bundle))
    register_bundle(str(bundle), "digits")
    assert promote_version(bundle=str(bundle)).model == "digits"
    register_bundle(str(bundle), "others")
    with pytest.raises(UserError, match="registered as digits, others"):
        promote_version(bundle=str(bundle))


def test_unverified_bundle_is_refused_and_gets_no_version(bundle):
    (bundle / loader.VERDICT).unlink()
    decision = promote_version(bundle=str(bundle), model="digits")
    assert kinds(decision) == ["unverified"]
    assert format_command("verify", bundle=bundle) in str(decision)
    assert Registry().models() == []
    with pytest.raises(WorkError, match="not registered: unverified"):
        register_bundle(str(bundle), "digits")


def test_bundle_that_failed_verification_is_refused(bundle):
    path = bundle / loader.VERDICT
    verdict = json.loads(path.read_text())
    verdict["checks"][1]["ok"] = verdict["ok"] = False
    path.write_text(json.dumps(verdict))
    assert kinds(promote_version(bundle=str(bundle), model="digits")) == ["unverified"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}'])
def test_verdict_that_is_none_does_not_count(bundle, text):
    (bundle / loader.VERDICT).write_text(text)
    assert kinds(promote_version(bundle=str(bundle), model="digits")) == ["unverified"]


def test_bundle_changed_since_verification_is_refused(bundle):
    flip(bundle / "weights.safetensors")
    decision = promote_version(bundle=str(bundle), model="digits")
    assert kinds(decision) == ["changed"]
    assert "weights.safetensors" in str(decision)
    rewrite_manifest(bundle)  # now whole again, but not what was judged
    decision = promote_version(bundle=str(bundle), model="digits")
    assert kinds(decision) == ["changed"]
    assert "the verdict is of sha256:" in str(decision)


def test_gate_holds_for_the_name_and_says_what_is_missing(made):
    Registry().ensure_model("digits")
    Registry().tag("digits", GATE_TAG, ["test/accuracy>=0.9", "test/f1>0.5"])
    decision = promote_version(bundle=str(made[2]), model="digits")
    assert kinds(decision) == ["below the gate", "metric missing"]
    assert "must be >= 0.9" in str(decision)
    assert "'test/f1' (it has: test/accuracy)" in str(decision)
    assert Registry().aliases("digits") == {}
    set_gate("digits", ["test/accuracy>=0.9"])
    assert promote_version(bundle=str(made[150]), model="digits").ok
    assert promote_version(
        bundle=str(made[2]), model="another"
    ).ok  # a name without a gate: verified


def test_gate_can_be_set_shown_and_lifted(bundle):
    register_bundle(str(bundle), "digits")
    assert set_gate("digits", ["test/accuracy >= 0.9"]).conditions == ("test/accuracy>=0.9",)
    assert set_gate("digits").conditions == ("test/accuracy>=0.9",)
    assert set_gate("digits", []).conditions == ()
    assert [e["action"] for e in read_history("digits").events] == ["gate", "gate"]
    for text in ("accuracy", "test/accuracy=0.9", "test/accuracy>=high", "a>=nan", ">=1"):
        with pytest.raises(UserError, match=r"such as 'test/accuracy>=0\.98'"):
            set_gate("digits", [text])


@pytest.mark.parametrize(
    ("condition", "met"),
    [("m>=0.5", True), ("m>0.5", False), ("m<=0.5", True), ("m<0.5", False), ("m>=5e-1", True)],
)
def test_conditions_compare_as_written(tmp_path, condition, met):
    (tmp_path / "lineage.json").write_text("{}")
    (tmp_path / "metrics.json").write_text('{"m": 0.5}')
    (found,) = judge_by_gate([condition], Evidence(tmp_path, "a bundle"))
    assert found.met is met


def test_metric_that_is_no_number_meets_no_gate(tmp_path):
    (tmp_path / "lineage.json").write_text("{}")
    (tmp_path / "metrics.json").write_text('{"test": {"accuracy": null}}')
    (found,) = judge_by_gate(["test/accuracy<=1"], Evidence(tmp_path, "a bundle"))
    assert found.refusal is not None
    assert found.refusal.kind == "metric missing"


def test_every_decision_is_kept(made):
    register_bundle(str(made[150]), "digits")
    set_gate("digits", ["test/accuracy>=0.5"])
    promote_version(bundle=str(made[150]), model="digits")
    promote_version(bundle=str(made[2]), model="digits")
    events = read_history("digits").events
    assert [e["action"] for e in events] == ["gate", "promote", "refuse"]
    assert events[2]["refusals"][0]["kind"] == "below the gate"
    assert events[1]["id"] == loader.bundle_id(made[150])
    text = str(read_history("digits"))
    assert "staging: promote nothing -> version 1" in text
    assert "refused version 2 (below the gate" in text
    json.dumps(read_history("digits").as_json())


def test_rollback_restores_one_version_after_the_other(made):
    for steps in (2, 20, 150):
        promote_version(bundle=str(made[steps]), model="digits")
        if steps == 2:
            promote_version(bundle=str(made[2]), model="digits", to="production")
    assert roll_back_alias("digits", "staging").version == 2
    decision = roll_back_alias("digits", "staging")
    assert (decision.ok, decision.version, decision.previous) == (True, 1, 2)
    assert Registry().aliases("digits") == {"production": 1, "staging": 1}
    with pytest.raises(
        UserError, match=r"first version that it had, 1; it came from version 2.*/2"
    ):
        roll_back_alias("digits", "staging")
    with pytest.raises(UserError, match="no other version than 1"):
        roll_back_alias("digits", "production")
    promote_version(model="digits/3")
    assert roll_back_alias("digits", "staging").version == 1


def test_rollback_knows_of_moves_made_elsewhere(made):
    for steps in (2, 20):
        promote_version(bundle=str(made[steps]), model="digits")
    register_bundle(str(made[150]), "digits")
    Registry().point("digits", "staging", 3)  # e.g. on MLflow's page
    assert roll_back_alias("digits", "staging").version == 2
    assert roll_back_alias("digits", "staging").version == 1


def test_rollback_to_a_damaged_version_is_refused(made, registry_root):
    for steps in (2, 20):
        promote_version(bundle=str(made[steps]), model="digits")
    first = Registry().version("digits", 1)
    flip(stored(registry_root, first) / "weights.safetensors")
    with pytest.raises(WorkError, match=r"digits/1 in .* is not the bundle that was registered"):
        roll_back_alias("digits", "staging")
    assert Registry().aliases("digits") == {"staging": 2}


def stored(root, version):
    return root / "artifacts" / version.run / "artifacts" / "bundle"


def test_promotion_judges_the_registrys_copy(bundle, registry_root):
    version = register_bundle(str(bundle), "digits")
    Registry().fetch(version)
    flip(stored(registry_root, version) / "weights.safetensors")
    with pytest.raises(WorkError, match=r"weights\.safetensors: its bytes have changed"):
        promote_version(model="digits")
    assert promote_version(bundle=str(bundle), model="digits").ok  # restored from the caller's


def test_wrong_names_are_users_mistakes(bundle):
    register_bundle(str(bundle), "digits")
    for call, message in (
        (lambda: promote_version(model="digits", to="stagging"), "did you mean 'staging'"),
        (lambda: promote_version(), "promote what"),
        (lambda: promote_version(model="digit"), "did you mean 'digits'"),
        (lambda: promote_version(model="digits/7"), "no version 7 .*there are: 1"),
        (lambda: promote_version(model="digits@production"), "no alias 'production'"),
        (lambda: promote_version(model="digits/x"), "expected NAME, NAME/VERSION or NAME@ALIAS"),
        (lambda: promote_version(bundle=str(bundle), model="a b"), "letters, digits"),
        (lambda: promote_version(bundle="nowhere", model="digits"), "no such folder"),
        (lambda: register_bundle("nowhere", "digits"), "no such folder"),
        (lambda: register_bundle(str(bundle), "a'b"), "letters, digits"),
        (lambda: roll_back_alias("digits", "staging"), "nothing to roll back"),
        (lambda: read_history("digit"), "did you mean 'digits'"),
        (lambda: set_gate("digit"), "did you mean 'digits'"),
        (lambda: views.show_model("digit"), "did you mean 'digits'"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_listing_showing_and_comparing(made):
    assert "no models yet" in str(views.list_models())
    register_bundle(str(made[2]), "digits")
    set_gate("digits", ["test/accuracy>=0.1"])
    for steps in (2, 150):
        promote_version(bundle=str(made[steps]), model="digits")
    listing = views.list_models()
    assert listing.models == ({"model": "digits", "versions": 2, "aliases": {"staging": 2}},)
    shown = views.show_model("digits")
    assert [v.version for v in shown.versions] == [1, 2]
    assert shown.gate == ("test/accuracy>=0.1",)
    assert "test/accuracy" in str(shown)
    found = diff_versions("digits/1", "digits@staging")
    changed = {row[0] for row in found.rows}
    assert {"metrics.test.accuracy", "file weights.safetensors"} <= changed
    assert "file programs/stablehlo/forward.bin" not in changed
    same = diff_versions("digits/2", "digits@staging")
    assert same.rows == ()
    assert "the same bundle" in str(same)
    for result in (listing, shown, found):
        json.dumps(result.as_json())
        assert f"next: {format_program()}" in str(result).splitlines()[-1]


def test_two_at_one_moment_keep_both_decisions(bundle, monkeypatch):
    promote_version(bundle=str(bundle), model="digits")
    monkeypatch.setattr(history.time, "time_ns", lambda: 10**18)
    for alias in ("staging", "production"):
        promote_version(model="digits", to=alias)
        Registry().tag("digits", history.new_key(), {"action": "gate", "gate": [], "done": True})
    assert len(read_history("digits").events) == 4


def test_production_takes_only_the_version_that_staging_holds(made):
    promote_version(bundle=str(made[20]), model="digits")
    decision = promote_version(bundle=str(made[150]), model="digits", to="production")
    assert kinds(decision) == ["not in staging"]
    assert "digits@staging points to digits/1" in str(decision)
    assert format_command("promote", model="digits/2", to="staging") in str(decision)
    assert Registry().aliases("digits") == {"staging": 1}
    assert promote_version(model="digits@staging", to="production").version == 1
    promote_version(model="digits/2")
    assert promote_version(model="digits/1", to="production").ok  # it points there already


def test_forced_promotion_is_written_down_with_its_reason_and_by_whom(made):
    register_bundle(str(made[2]), "digits")
    set_gate("digits", ["test/accuracy>=0.9"])
    with pytest.raises(UserError, match="--force takes a reason and a name"):
        promote(model="digits", force=True, reason="a demonstration")
    with pytest.raises(UserError, match="--force takes a reason and a name"):
        promote(model="digits", reason="a demonstration", by="ana")
    decision = promote(
        model="digits", to="production", force=True, reason="a demonstration", by="ana"
    )
    assert decision.ok
    assert [r.kind for r in decision.overruled] == ["below the gate", "not in staging"]
    assert "FORCED by ana: a demonstration; it overruled\n  below the gate" in str(decision)
    event = read_history("digits").events[-1]
    assert (event["by"], event["reason"], event["done"]) == ("ana", "a demonstration", True)
    assert event["evidence"][0]["met"] is False
    assert "(by ana, FORCED: a demonstration; it overruled below" in str(read_history("digits"))


@pytest.mark.parametrize("how", ["unverified", "changed"])
def test_nothing_forces_a_bundle_that_is_not_the_one_that_was_verified(bundle, how):
    if how == "unverified":
        (bundle / loader.VERDICT).unlink()
    else:
        flip(bundle / "weights.safetensors")
    decision = promote_version(bundle=str(bundle), model="digits", force="in a hurry", by="ana")
    assert kinds(decision) == [how]


def test_decision_holds_what_the_gate_found_and_who_decided(made):
    register_bundle(str(made[150]), "digits")
    set_gate("digits", ["lower(test/accuracy)>=0.5", "recall(each)>=0.5", "size<=10MB"])
    promote_version(model="digits", by="ana")
    event = read_history("digits").events[-1]
    assert event["by"] == "ana"
    assert [e["condition"] for e in event["evidence"]] == list(event["gate"])
    assert "95 % interval" in event["evidence"][0]["said"]


def test_trying_a_gate_says_all_and_changes_nothing(made, registry_root):
    for steps in (20, 150):
        promote_version(bundle=str(made[steps]), model="digits")
        if steps == 20:
            promote_version(model="digits@staging", to="production")
    gate = ["lower(test/accuracy)>=0.5", "test/accuracy>=production-0.05", "latency<=10s"]
    set_gate("digits", gate)
    before = (registry_root / "registry.db").read_bytes()
    tried = try_gate("digits", str(made[150]))
    assert tried.ok
    assert [f.condition for f in tried.findings] == [str(parse_condition(c)) for c in gate]
    assert "digits/1 in production: difference" in str(tried)
    assert "passes" in tried.as_json()["findings"][0]["error_rates"]
    tried = try_gate("digits", "digits/1", ["test/accuracy>=0.999", "signed"])
    assert [f.refusal.kind for f in tried.findings] == ["below the gate", "signature"]
    assert not tried.ok
    never = try_gate("digits", str(made[2]), ["recall(each)>=0.9"])  # of no version yet
    assert not never.ok
    assert [v.version for v in Registry().versions("digits")] == [1, 2]
    assert (registry_root / "registry.db").read_bytes() == before


def test_setting_a_gate_states_its_error_rates_by_the_newest_version(made):
    register_bundle(str(made[150]), "digits")
    gate = set_gate("digits", ["test/accuracy>=0.9", "recall(3)>=0.5", "size<=1MB"])
    assert gate.of == "digits/1"
    assert "with 360 examples, a model whose test/accuracy is 0.89 passes" in str(gate)
    assert gate.as_json()["error_rates"]["size<=1MB"] == ""
    with pytest.raises(UserError, match=r"no class 'x'; the classes are: 0, 1"):
        set_gate("digits", ["recall(x)>=0.9"])


def test_difference_tells_metrics_with_intervals_and_the_examples_that_changed(made, tmp_path):
    for steps in (20, 150):
        register_bundle(str(made[steps]), "digits")
    found = registry_command(["diff", "digits/1", "digits/2"], out=str(tmp_path / "changed.png"))
    assert found.measured.keys() == {
        "test/accuracy of digits/1", "test/accuracy of digits/2", "difference of test/accuracy",
    }  # fmt: skip
    value, low, high = found.measured["difference of test/accuracy"]
    assert low < value < high
    first = found.changed[0]
    assert first.first != first.second
    assert first.label in (first.first, first.second)
    assert "examples are answered otherwise" in str(found)
    assert (tmp_path / "changed.png").exists()
    same = diff_versions("digits/2", "digits/2")
    assert same.changed == ()
