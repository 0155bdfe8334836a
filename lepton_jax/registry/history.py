"""The history of a model: every decision on it, and which of them has still to be carried out.

A decision is a tag of its own on the registered model, keyed by its time; MLflow itself keeps no
history of an alias. It is written before anything moves, with `done` false, and `done` becomes
true when the alias points where it says. Nothing else of a decision is ever changed, and none is
removed. So what a kill leaves half done is in the history, and is carried out by the next that
looks at the model.
"""

import json
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from lepton_jax.console import format_command
from lepton_jax.errors import WorkError
from lepton_jax.tracking.mlflow_errors import is_missing

GATE_TAG = "lepton.gate"
HISTORY_TAG = "lepton.history."
MOVES = ("promote", "rollback")
"""The actions that point an alias to a version."""

Event = dict[str, Any]
"""One decision: its action, its time, and what it decided."""


def new_key() -> str:
    """Returns the key of a decision that is made now. Two processes at one moment get two."""
    return f"{HISTORY_TAG}{time.time_ns():020d}-{secrets.token_hex(4)}"


def read_events(tags: Mapping[str, str]) -> dict[str, Event]:
    """Returns the decisions among the tags of a model by their keys, oldest first."""
    keys = sorted(key for key in tags if key.startswith(HISTORY_TAG))
    return {key: _read_event(tags[key]) for key in keys}


def _read_event(text: str) -> Event:
    """Returns a decision; one that somebody has edited until it is none becomes 'unreadable'."""
    try:
        event = json.loads(text)
        say_event(event)
        return {"time": "", **event}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"action": "unreadable", "time": "", "text": text[:80]}


def read_gate(model: str, tags: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what a version must meet, from the tags of its model.

    Raises:
      WorkError: when somebody has edited it until it is none.
    """
    try:
        gate = json.loads(tags.get(GATE_TAG, "[]"))
        if all(isinstance(condition, str) for condition in gate):
            return tuple(gate)
    except (ValueError, TypeError):
        pass
    raise WorkError(
        f"the gate of {model} is damaged (tag {GATE_TAG}: {tags[GATE_TAG][:80]!r}); set it again: "
        + format_command("registry gate", model=model, require="test/accuracy>=0.98")
    )


def undone(events: Mapping[str, Event]) -> dict[str, Event]:
    """Returns the decisions that have still to be carried out, by their keys."""
    return {key: event for key, event in events.items() if event.get("done") is False}


def decided_alias(events: Mapping[str, Event], alias: str) -> int | None:
    """Returns the version that the last decision points an alias to; None if there is none."""
    moves = [
        event["version"]
        for event in events.values()
        if event["action"] in MOVES and event["alias"] == alias and "failed" not in event
    ]
    return moves[-1] if moves else None


def decided_gate(events: Mapping[str, Event]) -> tuple[str, ...]:
    """Returns the gate of the last decision on it."""
    gates = [event["gate"] for event in events.values() if event["action"] == "gate"]
    return tuple(gates[-1]) if gates else ()


def stack_of(events: Sequence[Event], alias: str) -> list[int]:
    """Returns the versions that `alias` would go back through, the present one last."""
    stack: list[int] = []
    for event in events:
        if event["action"] not in MOVES or event["alias"] != alias or "failed" in event:
            continue
        if event["action"] == "promote":
            for version in (event["previous"], event["version"]):
                if version and stack[-1:] != [version]:
                    stack.append(version)
        elif event["action"] == "rollback":
            while stack and stack[-1] != event["version"]:
                stack.pop()
            stack = stack or [event["version"]]
    return stack


def newest_left(events: Sequence[Event], alias: str) -> int | None:
    """Returns the version that the last rollback of `alias` left; None without a rollback."""
    left = [
        event["previous"]
        for event in events
        if event["action"] == "rollback" and event["alias"] == alias and "failed" not in event
    ]
    return left[-1] if left else None


class Decided(Protocol):
    """What carries decisions out: the registry."""

    def entry(self, model: str) -> Any: ...

    def tag(self, model: str, key: str, value: Any) -> None: ...

    def point(self, model: str, alias: str, number: int) -> None: ...

    def alone(self) -> AbstractContextManager[None]: ...


def decide(registry: Decided, model: str, event: Event) -> None:
    """Writes a decision into the history of a model, and carries it out."""
    with registry.alone():
        key = new_key()
        if event["action"] == "refuse":
            registry.tag(model, key, event)
        else:
            registry.tag(model, key, {**event, "done": False})
            carry_out(registry, model, [key])


def carry_out(registry: Decided, model: str, keys: Collection[str]) -> None:
    """Points aliases, and sets the gate, where the decisions with these keys touch them.

    What was last decided holds. On a server another process may decide at the same moment, so the
    history is read again after each move until both agree.
    """
    with registry.alone():
        while True:
            entry = registry.entry(model)
            events = read_events(entry.tags)
            if not any(_move(registry, entry, events, key) for key in keys):
                break
        for key in keys:
            if events[key].get("done") is False:
                registry.tag(model, key, {**events[key], "done": True})


def _move(registry: Decided, entry: Any, events: Mapping[str, Event], key: str) -> bool:
    """Makes what a decision touches agree with the last one; returns whether it did not."""
    event, model = events[key], entry.name
    if event["action"] == "gate":
        wanted = list(decided_gate(events))
        if entry.tags.get(GATE_TAG) == json.dumps(wanted):
            return False
        registry.tag(model, GATE_TAG, wanted)
        return True
    number = decided_alias(events, event["alias"])
    if number is None or str(entry.aliases.get(event["alias"])) == str(number):
        return False
    try:
        registry.point(model, event["alias"], number)
    except WorkError as e:
        if e.__cause__ is None or not is_missing(e.__cause__):
            raise
        lost = next(k for k in reversed(list(events)) if events[k].get("version") == number)
        why = {"done": True, "failed": f"version {number} was deleted"}
        registry.tag(model, lost, {**events[lost], **why})
    return True


def say_event(event: Event) -> str:
    """Returns a decision as a sentence."""
    if event["action"] == "unreadable":
        return f"a decision that cannot be read: {event['text']}"
    by = [f"by {event['by']}"] if event.get("by") else []
    if event.get("reason"):
        overruled = "; ".join(f"{r['kind']}: {r['what']}" for r in event["overruled"])
        by.append(f"FORCED: {event['reason']}; it overruled {overruled}")
    end = f" ({', '.join(by)})" if by else ""
    if "failed" in event:
        end += f" (not carried out: {event['failed']})"
    elif event.get("done") is False:
        end += " (not carried out yet)"
    if event["action"] == "gate":
        return f"gate: {', '.join(['verified', *event['gate']])}{end}"
    what = f"version {event['version']}" if event["version"] else event["id"]
    if event["action"] == "refuse":
        reasons = "; ".join(f"{r['kind']}: {r['what']}" for r in event["refusals"])
        return f"{event['alias']}: refused {what} ({reasons}){end}"
    was = f"version {event['previous']}" if event["previous"] else "nothing"
    return f"{event['alias']}: {event['action']} {was} -> {what}{end}"
