"""What of a machine, its software and the code can change bits is named."""

from typing import Any

from lepton_jax.replay.conditions import list_changes

HERE: dict[str, Any] = {
    "python": "3.12.1",
    "visible_cpus": 2,
    "processor": "A",
    "host": "one",
    "devices": {"kind": "cpu", "count": 1, "processes": 1},
    "variables": {},
    "packages": {"jax": "0.9", "requests": "2.1"},
    "package": "a",
    "components": {"mine": "a"},
}


def test_nothing_is_named_where_only_the_machines_name_is_other():
    assert list_changes(HERE, {**HERE, "host": "two", "packages": {"jax": "0.9"}}) == []


def test_a_record_without_a_processor_counts_by_its_machine():
    old = {k: v for k, v in HERE.items() if k != "processor"}
    assert list_changes(old, HERE) == []
    assert list_changes(old, {**HERE, "host": "two"}) == ["machine one -> two"]


def test_what_differs_is_named():
    there = {
        **HERE,
        "devices": {"kind": "cpu", "count": 8, "processes": 2},
        "variables": {"XLA_FLAGS": "--a"},
        "packages": {"jax": "0.8"},
        "package": "b",
        "components": {"mine": "b"},
    }
    assert list_changes(there, HERE) == [
        "devices 8 x cpu in 2 processes -> 1 x cpu",
        "XLA_FLAGS '--a' -> (none)",
        "jax 0.8 -> 0.9",
        "the code of lepton_jax is another",
        "mine is another",
    ]


def test_devices_that_a_run_did_not_use_change_nothing():
    used = {"strategy": "jit", "axes": {"data": 1}, "devices": 1, "kind": "cpu", "processes": 1}
    eight = {**HERE, "devices": {"kind": "cpu", "count": 8, "processes": 1}, "placement": used}
    assert list_changes(eight, {**HERE, "placement": used}) == []
    spread = {**used, "strategy": "mesh", "axes": {"data": 1, "fsdp": 8}, "devices": 8}
    assert list_changes(eight, {**eight, "placement": spread}) == [
        "devices 1 cpu, strategy jit -> 8 cpu, strategy mesh fsdp=8"
    ]


def test_a_gpu_owes_its_bits_only_where_it_was_told_to_be_deterministic():
    free = {**HERE, "devices": {"platform": "gpu", "kind": "a", "count": 1, "processes": 1}}
    told = {**free, "variables": {"XLA_FLAGS": "--b --xla_gpu_deterministic_ops=true"}}
    assert len(list_changes(free, free)) == 1
    assert list_changes(told, told) == []
