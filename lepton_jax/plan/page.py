"""A plan as a page of text for people: sizes, times and collectives with their units."""

from collections.abc import Mapping
from typing import Any

from lepton_jax.console import format_table
from lepton_jax.formats import format_bytes

Facts = Mapping[str, Any]
"""What `plan --json` prints; see `plan.plan_run`."""


def format_plan(facts: Facts) -> str:
    """Returns the page of a plan: the run, then what was compiled or measured."""
    lines = _run(facts)
    lines += _compiled(facts) if "topology" in facts else _measured(facts)
    return "\n".join(lines)


def format_count(count: float) -> str:
    """Returns a count with a decimal prefix: `1.5 G`; a unit may follow at once."""
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.3g} "


def format_duration(seconds: float) -> str:
    """Returns seconds in ms, s, min or h, whichever gives the shortest number."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"


def describe_remedy(row: Facts) -> str:
    """Returns whether a remedy makes the step fit, with its memory and time."""
    times = row["step_seconds"]
    step = f", {format_duration(times[0])} to {format_duration(times[1])} a step" if times else ""
    return (
        f"{'fits' if row['fits'] else 'does not fit'}, {format_bytes(row['memory'])} a device{step}"
    )


def _run(facts: Facts) -> list[str]:
    strategy = facts["strategy"]
    keys = " x ".join(f"{k} {v}" for k, v in strategy.items() if k != "name" and v)
    return [
        f"parameters   {facts['parameters']:,} ({format_bytes(facts['parameter_bytes'])}); "
        f"a checkpoint {format_bytes(facts['checkpoint_bytes'])}",
        f"steps        {facts['steps']:,} of {facts['batch_size']:,} examples"
        + (f" in {facts['accumulate']} parts" if facts["accumulate"] > 1 else "")
        + f"; an epoch is {facts['batches_an_epoch']:,.1f}",
        f"placed by    {strategy['name']}{f' ({keys})' if keys else ''}, {facts['precision']}",
    ]


def _memory(memory: Facts) -> str:
    code = f", program {format_bytes(memory['code'])}" if memory["code"] else ""
    return (
        f"{format_bytes(memory['total'])} (arguments {format_bytes(memory['arguments'])}, "
        f"temporaries {format_bytes(memory['temporaries'])}{code})"
    )


def _measured(facts: Facts) -> list[str]:
    return [
        f"a step       {format_count(facts['flops'])}FLOP; "
        f"{format_duration(facts['step_seconds'])} "
        f"(median of {facts['steps_measured']} on {facts['device']}): "
        f"{format_count(facts['flops_per_second'])}FLOP/s, "
        f"{facts['examples_per_second']:,.4g} examples/s",
        f"memory       {_memory(facts['memory'])}",
        f"compiling    {format_duration(facts['compile_seconds'])}",
        f"evaluating   {facts['evaluations']} x {format_duration(facts['evaluation_seconds'])}",
        f"the run      {format_duration(facts['run_seconds'])}",
    ]


def _compiled(facts: Facts) -> list[str]:
    total, available = facts["memory"]["total"], facts["available"]
    over = total - available
    lines = [
        f"compiled for {facts['topology']}, {facts['devices_used']} of {facts['devices']} devices, "
        f"in {format_duration(facts['compile_seconds'])}",
        f"memory       {_memory(facts['memory'])} a device, which has {format_bytes(available)}",
    ]
    if facts["fits"]:
        lines.append(f"             it fits, {format_bytes(-over)} are left")
    else:
        lines.append(f"             it does NOT fit, by {format_bytes(over)}")
        if facts["complaint"]:
            lines.append(f"             the compiler: {facts['complaint']}")
    lines += ["", facts["sharding"], ""]
    lines += _collectives(facts) + _times(facts) if "step" in facts else []
    if "remedies" in facts:
        lines += ["", "what would make it fit, each compiled; the best first:"]
        lines += [f"  {row['flags']}\n      {describe_remedy(row)}" for row in facts["remedies"]]
        if not any(row["fits"] for row in facts["remedies"]):
            lines.append("  nothing that was tried: take more devices or a smaller model")
    return lines


def _collectives(facts: Facts) -> list[str]:
    head = ("collective", "devices", "of", "arrays", "count", "bytes", "sent a device", "on paper")
    rows = [
        (
            row["kind"],
            str(row["group"]),
            row["of"],
            row["arrays"],
            f"{row['count']:.0f}",
            format_bytes(row["bytes"]),
            format_bytes(row["sent_bytes"]),
            format_duration(row["seconds"]),
        )
        for row in facts["collectives"]
    ]
    shown = rows[:16]
    lines = format_table([head, *shown])
    if len(rows) > len(shown):
        sent = sum(row["sent_bytes"] for row in facts["collectives"][len(shown) :])
        lines.append(f"and {len(rows) - len(shown)} smaller ones, {format_bytes(sent)} in all")
    return [*lines, ""] if rows else ["no collectives", ""]


def _times(facts: Facts) -> list[str]:
    step = facts["step"]
    again = facts["work"] / facts["flops"] - 1 if facts["flops"] else 0
    compute, memory, links = (format_duration(step[k]) for k in ("compute", "memory", "links"))
    lines = [
        f"a step       {format_count(facts['flops'])}FLOP"
        + (f", and {again:.0%} again for recomputation" if again > 0.005 else "")
        + f"; on paper: computing {compute}, memory {memory} "
        f"({format_bytes(facts['traffic_bytes'])} a device), links {links}",
    ]
    for name, meaning in (("if_hidden", "if all overlap "), ("if_not_hidden", "if links do not")):
        run = facts["run"][name]
        cost = "" if run["cost"] is None else f", cost {run['cost']:,.2f}"
        lines.append(
            f"{meaning} {format_duration(run['step_seconds'])} a step, "
            f"MFU {run['utilization']:.1%}, {run['examples_per_second']:,.4g} examples/s, "
            f"{run['hours']:.3g} h for the run{cost}"
        )
    return lines
