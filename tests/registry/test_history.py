"""A decision is written before anything moves, and is carried out whatever happens in between."""

import json
import threading
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.errors import WorkError
from lepton_jax.registry import history

TIME = "2026-01-01 00:00:00 UTC"


class Killed(BaseException):
    """What a kill -9 leaves undone."""


class InMemory:
    """A registered model; `writes` more calls that write are carried out before a kill."""

    def __init__(self):
        self.aliases: dict[str, int] = {}
        self.tags: dict[str, str] = {}
        self.writes = 10**9
        self.turn = lambda: None
        self.gone: set[int] = set()

    def entry(self, model):
        self.turn()
        return SimpleNamespace(name=model, aliases=dict(self.aliases), tags=dict(self.tags))

    def tag(self, model, key, value):
        self._write()
        self.tags[key] = json.dumps(value)

    def point(self, model, alias, number):
        self._write()
        if number in self.gone:
            missing = RuntimeError("not found")
            missing.error_code = "RESOURCE_DOES_NOT_EXIST"
            raise WorkError("the registry failed: not found") from missing
        self.aliases[alias] = number

    def alone(self):
        return nullcontext()

    def events(self):
        return list(history.read_events(self.tags).values())

    def _write(self):
        self.turn()
        if self.writes == 0:
            raise Killed
        self.writes -= 1


def promote(alias, version):
    return {
        "action": "promote", "alias": alias, "version": version, "previous": None, "time": TIME,
        "id": "sha256:x", "refusals": [],
    }  # fmt: skip


DECISIONS = st.lists(
    st.one_of(
        st.builds(promote, st.sampled_from(["staging", "production"]), st.integers(1, 3)),
        st.builds(lambda g: {"action": "gate", "gate": g, "time": TIME},
                  st.lists(st.sampled_from(["a>=1.0", "b<2.0"]), max_size=2)),
        st.just({**promote("staging", 2), "action": "refuse"}),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


def assert_carried_out(registry):
    """The registry stands where its last decisions say, and all of them are done."""
    events = history.read_events(registry.tags)
    assert history.undone(events) == {}
    for alias in ("staging", "production"):
        assert registry.aliases.get(alias) == history.decided_alias(events, alias)
    gate = history.read_gate("m", registry.tags)
    assert gate == history.decided_gate(events)


@given(decisions=DECISIONS, kills=st.lists(st.integers(0, 4), max_size=8))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_kill_at_any_write_leaves_what_the_next_one_finishes(decisions, kills):
    registry, written = InMemory(), 0
    kills = list(kills)
    for event in decisions:
        registry.writes = kills.pop() if kills else 10**9
        before = len(registry.events())
        with suppress(Killed):
            history.decide(registry, "m", event)
        written += len(registry.events()) - before
        while True:  # the next that looks at the model, which may be killed as well
            registry.writes = kills.pop() if kills else 10**9
            try:
                history.carry_out(registry, "m", history.undone(history.read_events(registry.tags)))
                break
            except Killed:
                continue
        assert_carried_out(registry)
    assert len(registry.events()) == written


@given(schedule=st.lists(st.integers(0, 2), max_size=40), versions=st.permutations([1, 2, 3]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_several_that_decide_at_once_leave_the_alias_where_the_last_decision_says(
    schedule, versions
):
    """On a server nobody is alone: calls of three processes come in any order."""
    registry, turns = InMemory(), [threading.Semaphore(0) for _ in versions]
    arrived, ended = threading.Semaphore(0), set()

    def turn():
        arrived.release()
        turns[int(threading.current_thread().name)].acquire(timeout=5)

    def act(version):
        history.decide(registry, "m", promote("staging", version))
        ended.add(int(threading.current_thread().name))
        arrived.release()

    registry.turn = turn
    threads = [threading.Thread(target=act, args=(v,), name=str(i)) for i, v in enumerate(versions)]
    for thread in threads:
        thread.start()
    for _ in threads:
        arrived.acquire(timeout=5)
    order = list(schedule)
    while alive := [i for i in range(len(threads)) if i not in ended]:
        turns[alive[(order.pop() if order else 0) % len(alive)]].release()
        arrived.acquire(timeout=5)
    registry.turn = lambda: None
    assert_carried_out(registry)
    assert len(registry.events()) == 3


def test_version_that_was_deleted_meanwhile_is_said_in_the_history():
    registry = InMemory()
    history.decide(registry, "m", promote("staging", 1))
    registry.gone = {2}
    history.decide(registry, "m", promote("staging", 2))
    assert registry.aliases == {"staging": 1}
    last = registry.events()[-1]
    assert history.say_event(last).endswith("(not carried out: version 2 was deleted)")
    assert history.decided_alias(history.read_events(registry.tags), "staging") == 1
    assert history.stack_of(registry.events(), "staging") == [1]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"action": "promote"}', '{"action": "gate"}', "3",
     '{"action": "promote", "alias": "staging"}'],
)  # fmt: skip
def test_decision_that_somebody_edited_is_shown_and_counts_for_nothing(text):
    registry = InMemory()
    history.decide(registry, "m", promote("staging", 1))
    registry.tags[history.new_key()] = text
    history.decide(registry, "m", promote("staging", 2))
    assert registry.aliases == {"staging": 2}
    assert history.stack_of(registry.events(), "staging") == [1, 2]
    assert history.say_event(registry.events()[1]) == f"a decision that cannot be read: {text}"


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", "null"])
def test_gate_that_somebody_edited_is_no_gate_that_is_met(text):
    with pytest.raises(WorkError, match="the gate of m is damaged"):
        history.read_gate("m", {history.GATE_TAG: text})


def test_history_of_earlier_versions_has_nothing_to_carry_out():
    events = {"a": promote("staging", 1), "b": {"action": "gate", "gate": [], "time": TIME}}
    assert history.undone(events) == {}
