"""The command `plan`: what a config needs, on this machine or on a topology that is not here."""

import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.validation import change_config
from lepton_jax.data.dataset import Dataset
from lepton_jax.errors import UserError
from lepton_jax.plan import page, topology
from lepton_jax.plan import remedies as remedy
from lepton_jax.plan.compile import CompiledStep, compile_step
from lepton_jax.plan.estimate import Estimate, count_domains, estimate_step, link_seconds
from lepton_jax.training import build
from lepton_jax.training.layout import build_layout
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime


@dataclass(frozen=True)
class Plan:
    """`facts` is what `--json` prints."""

    facts: dict[str, Any]
    fits: bool

    @property
    def ok(self) -> bool:
        return self.fits

    def as_json(self) -> dict[str, Any]:
        return self.facts

    def __str__(self) -> str:
        return page.format_plan(self.facts)


def plan_run(config: Config, name: str = "", price: float | None = None) -> Plan:
    """Without a topology's name: measured here. `price`: of one chip for an hour.

    Raises:
      UserError: when the data is not at hand, the topology is unknown or its compiler missing.
    """
    wanted = topology.parse_topology(name) if name else None
    devices = topology.topology_devices(wanted) if wanted else ()
    with runtime(config.precision):
        data = _data(config)
        program = build.build_program(config, data)
        facts = _of_run(program, data)
        if wanted is None:
            return Plan(facts | _measured(program, data), True)
        facts |= {"topology": wanted.name, "devices": wanted.count, "chip": vars(wanted.chip)}
        placed = build_layout(program, devices)
        facts["sharding"] = placed.table()
        compiled = compile_step(program, devices)
        facts |= _compiled(wanted, program, compiled, price)
        if not facts["fits"]:
            facts["remedies"] = _remedies(wanted, program, data, devices)
        return Plan(facts, facts["fits"])


def _data(config: Config) -> Dataset:
    try:
        return build.load_data(config)
    except UserError as e:
        raise UserError(
            f"{e}\nTo plan without the data set, give the recipe its stand-in: "
            "--config=FILE.py:synthetic, where the recipe has one"
        ) from None


def _of_run(program: Program, data: Dataset) -> dict[str, Any]:
    """What does not depend on where it runs."""
    import jax

    config = program.config
    state = program.abstract_state()
    params = jax.tree.leaves(jax.eval_shape(program.variables, state)[0])
    return {
        "parameters": sum(p.size for p in params),
        "parameter_bytes": _bytes(params),
        "checkpoint_bytes": _bytes(jax.tree.leaves(state)),
        "batch_size": config.batch_size,
        "accumulate": config.accumulate,
        "precision": config.precision,
        "strategy": {"name": config.strategy.name, **config.strategy.keys},
        "train_examples": len(data.splits["train"]),
        "batches_an_epoch": len(data.splits["train"]) / config.batch_size,
        "steps": program.total_steps,
    }


def _bytes(leaves: Any) -> int:
    return sum(x.size * getattr(x.dtype, "itemsize", 8) for x in leaves)


def _measured(program: Program, data: Dataset) -> dict[str, Any]:
    from lepton_jax.plan.local import measure_run

    found = measure_run(program, data)
    evaluations = found.evaluations * found.evaluation_seconds
    seconds = found.compile_seconds + program.total_steps * found.step_seconds + evaluations
    return {
        **{k: v for k, v in vars(found).items() if k != "memory"},
        "memory": vars(found.memory),
        "flops_per_second": found.flops / found.step_seconds,
        "examples_per_second": program.config.batch_size / found.step_seconds,
        "run_seconds": seconds,
        "fits": True,
    }


def _compiled(
    wanted: topology.Topology, program: Program, compiled: CompiledStep, price: float | None
) -> dict[str, Any]:
    memory, chip = compiled.memory, wanted.chip
    facts: dict[str, Any] = {
        "devices_used": len(compiled.devices),
        "compile_seconds": compiled.seconds,
        "memory": vars(memory),
        "available": chip.hbm,
        "fits": not compiled.complaint and memory.total <= chip.hbm,
        "complaint": compiled.complaint,
        "flops": compiled.flops,
        "work": compiled.work,
    }
    if compiled.complaint:
        return facts
    times = _times(wanted, program, compiled)
    facts |= {
        "traffic_bytes": compiled.traffic,
        "collectives": _table(wanted, compiled),
        "step": {**vars(times), "shortest": times.shortest, "longest": times.longest},
        "run": {},
    }
    for which, seconds in (("if_hidden", times.shortest), ("if_not_hidden", times.longest)):
        hours = program.total_steps * seconds / 3600
        facts["run"][which] = {
            "step_seconds": seconds,
            "utilization": times.utilization(compiled.flops, compiled.work, seconds),
            "examples_per_second": program.config.batch_size / seconds,
            "hours": hours,
            "cost": None if price is None else price * hours * wanted.count,
        }
    return facts


def _times(wanted: topology.Topology, program: Program, compiled: CompiledStep) -> Estimate:
    return estimate_step(
        wanted,
        program.config.precision,
        compiled.devices,
        compiled.work,
        compiled.traffic,
        compiled.sent,
    )


def _table(wanted: topology.Topology, compiled: CompiledStep) -> list[dict[str, Any]]:
    """The collectives, those of one kind, shape, group and purpose together."""
    rows: dict[Any, dict[str, Any]] = {}
    totals: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for c in compiled.sent:
        shapes = " ".join(dict.fromkeys(map(str, c.shapes)))
        network = count_domains(c, compiled.devices, wanted) > 1
        kind = f"{c.kind}, network" if network else c.kind
        key = (kind, len(c.group), shapes if len(c.shapes) < 4 else "several", _stage(c.source))
        rows[key] = dict(zip(("kind", "group", "arrays", "of"), key, strict=True))
        seconds = link_seconds(c, compiled.devices, wanted)
        for i, value in enumerate((c.runs, c.runs * c.bytes, c.sent, seconds)):
            totals[key][i] += value
    names = ("count", "bytes", "sent_bytes", "seconds")
    table = [row | dict(zip(names, totals[key], strict=True)) for key, row in rows.items()]
    return sorted(table, key=lambda row: -row["sent_bytes"])


def _stage(source: str) -> str:
    """In which part of the step: jax names what belongs to gradients `transpose(jvp(...))`."""
    return "backward" if "transpose(" in source else "forward" if "jvp(" in source else "update"


def _remedies(
    wanted: topology.Topology, program: Program, data: Dataset, devices: Any
) -> list[dict[str, Any]]:
    """What was tried, what fits first, the fastest of it first."""
    found: list[dict[str, Any]] = []
    for changes in remedy.remedy_rounds(program.config, wanted.count):
        for change in changes:
            try:
                tried = Program(
                    change_config(program.config, change), data.spec, program.train_examples
                )
                compiled = compile_step(tried, devices)
            except UserError:  # e.g. the batch does not divide any further
                continue
            fits = not compiled.complaint and compiled.memory.total <= wanted.chip.hbm
            times = None if compiled.complaint else _times(wanted, tried, compiled)
            found.append(
                {
                    "flags": remedy.flags_of(change),
                    "fits": fits,
                    "memory": compiled.memory.total,
                    "step_seconds": [times.shortest, times.longest] if times else None,
                }
            )
            print(f"tried {found[-1]['flags']}: {page.describe_remedy(found[-1])}", file=sys.stderr)
        if any(row["fits"] for row in found):
            break
    unknown = [float("inf")] * 2
    return sorted(
        found, key=lambda r: (not r["fits"], (r["step_seconds"] or unknown)[1], r["memory"])
    )
