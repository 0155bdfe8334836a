"""A plan as a page for people."""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]


def page(facts: Facts) -> str:
    lines = _run(facts)
    lines += _compiled(facts) if "topology" in facts else _measured(facts)
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} TiB"


def many(count: float) -> str:
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.3g} "


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"


def verdict(row: Facts) -> str:
    """Of a remedy."""
    times = row["step_seconds"]
    step = f", {duration(times[0])} to {duration(times[1])} a step" if times else ""
    return f"{'fits' if row['fits'] else 'does not fit'}, {size(row['memory'])} a device{step}"


def _run(facts: Facts) -> list[str]:
    strategy = facts["strategy"]
    keys = " x ".join(f"{k} {v}" for k, v in strategy.items() if k != "name" and v)
    return [
        f"parameters   {facts['parameters']:,} ({size(facts['parameter_bytes'])}); "
        f"a checkpoint {size(facts['checkpoint_bytes'])}",
        f"steps        {facts['steps']:,} of {facts['batch_size']:,} examples"
        + (f" in {facts['accumulate']} parts" if facts["accumulate"] > 1 else "")
        + f"; an epoch is {facts['batches_an_epoch']:,.1f}",
        f"placed by    {strategy['name']}{f' ({keys})' if keys else ''}, {facts['precision']}",
    ]


def _memory(memory: Facts) -> str:
    code = f", program {size(memory['code'])}" if memory["code"] else ""
    return (
        f"{size(memory['total'])} (arguments {size(memory['arguments'])}, "
        f"temporaries {size(memory['temporaries'])}{code})"
    )


def _measured(facts: Facts) -> list[str]:
    return [
        f"a step       {many(facts['flops'])}FLOP; {duration(facts['step_seconds'])} "
        f"(median of {facts['steps_measured']} on {facts['device']}): "
        f"{many(facts['flops_per_second'])}FLOP/s, "
        f"{facts['examples_per_second']:,.4g} examples/s",
        f"memory       {_memory(facts['memory'])}",
        f"compiling    {duration(facts['compile_seconds'])}",
        f"evaluating   {facts['evaluations']} x {duration(facts['evaluation_seconds'])}",
        f"the run      {duration(facts['run_seconds'])}",
    ]


def _compiled(facts: Facts) -> list[str]:
    total, available = facts["memory"]["total"], facts["available"]
    over = total - available
    lines = [
        f"compiled for {facts['topology']}, {facts['devices_used']} of {facts['devices']} devices, "
        f"in {duration(facts['compile_seconds'])}",
        f"memory       {_memory(facts['memory'])} a device, which has {size(available)}",
    ]
    if facts["fits"]:
        lines.append(f"             it fits, {size(-over)} are left")
    else:
        lines.append(f"             it does NOT fit, by {size(over)}")
        if facts["complaint"]:
            lines.append(f"             the compiler: {facts['complaint']}")
    lines += ["", facts["sharding"], ""]
    lines += _collectives(facts) + _times(facts) if "step" in facts else []
    if "remedies" in facts:
        lines += ["", "what would make it fit, each compiled; the best first:"]
        lines += [f"  {row['flags']}\n      {verdict(row)}" for row in facts["remedies"]]
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
            size(row["bytes"]),
            size(row["sent_bytes"]),
            duration(row["seconds"]),
        )
        for row in facts["collectives"]
    ]
    shown = rows[:16]
    widths = [max(len(r[i]) for r in [head, *shown]) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in [head, *shown]]
    if len(rows) > len(shown):
        sent = sum(row["sent_bytes"] for row in facts["collectives"][len(shown) :])
        lines.append(f"and {len(rows) - len(shown)} smaller ones, {size(sent)} in all")
    return [*lines, ""] if rows else ["no collectives", ""]


def _times(facts: Facts) -> list[str]:
    step = facts["step"]
    again = facts["work"] / facts["flops"] - 1 if facts["flops"] else 0
    lines = [
        f"a step       {many(facts['flops'])}FLOP"
        + (f", and {again:.0%} again for recomputation" if again > 0.005 else "")
        + f"; on paper: computing {duration(step['compute'])}, memory {duration(step['memory'])} "
        f"({size(facts['traffic_bytes'])} a device), links {duration(step['links'])}",
    ]
    for name, meaning in (("if_hidden", "if all overlap "), ("if_not_hidden", "if links do not")):
        run = facts["run"][name]
        cost = "" if run["cost"] is None else f", cost {run['cost']:,.2f}"
        lines.append(
            f"{meaning} {duration(run['step_seconds'])} a step, MFU {run['utilization']:.1%}, "
            f"{run['examples_per_second']:,.4g} examples/s, {run['hours']:.3g} h for the run{cost}"
        )
    return lines
