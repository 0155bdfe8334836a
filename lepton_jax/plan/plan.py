"""Plans a run: what its config needs, on this machine or on a topology that is not here."""

from collections import defaultdict
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.user_code import keeping_tracebacks
from lepton_jax.config.validation import change_config
from lepton_jax.console import say
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.sources.tfds_prepared import AbsentSet
from lepton_jax.errors import UserError, Way
from lepton_jax.plan import page, remedies, topology
from lepton_jax.plan.compile import CompiledStep, compile_step
from lepton_jax.plan.estimate import Estimate, count_domains, estimate_step, link_seconds
from lepton_jax.training import build
from lepton_jax.training.layout import build_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime


def plan_run(
    config: Config, target: topology.Topology | None, price: float | None
) -> dict[str, Any]:
    """Plans a run: measures it on this machine, or compiles it for a topology.

    Args:
      target: None for this machine.
      price: of one chip for an hour; None leaves the cost out.

    Returns:
      Facts by name, `fits` among them: what `plan --json` prints.

    Raises:
      UserError: when the data is not at hand, or the topology's compiler is missing.
    """
    devices = topology.topology_devices(target) if target else ()
    with runtime(config.precision), keeping_tracebacks():
        data = _load_data(config, look_only=target is not None)
        program = build.build_program(config, data)
        facts = _describe_run(program, data)
        if target is None:
            return facts | _measure(program, data)
        facts |= {"topology": target.name, "devices": target.count, "chip": vars(target.chip)}
        facts["sharding"] = build_layout(program, devices).table()
        facts |= _describe_compiled(target, program, compile_step(program, devices), price)
        if not facts["fits"]:
            facts["remedies"] = _try_remedies(target, program, data, devices)
        return facts


def _load_data(config: Config, look_only: bool) -> Dataset:
    try:
        return load_data(config, look_only=look_only)
    except AbsentSet as e:
        e.ways = [Way("on generated data of the same sizes", form="synthetic"), *e.ways]
        raise


def _describe_run(program: Program, data: Dataset) -> dict[str, Any]:
    """Returns the facts that do not depend on where the run takes place."""
    import jax

    config = program.config
    state = program.training.abstract_state()
    params = jax.tree.leaves(jax.eval_shape(program.training.variables, state)[0])
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
        "steps": program.durations.total_steps,
    }


def _bytes(leaves: Any) -> int:
    return sum(x.size * getattr(x.dtype, "itemsize", 8) for x in leaves)


def _measure(program: Program, data: Dataset) -> dict[str, Any]:
    from lepton_jax.plan.local import measure_run

    measured = measure_run(program, data)
    evaluations = measured.evaluations * measured.evaluation_seconds
    seconds = (
        measured.compile_seconds
        + program.durations.total_steps * measured.step_seconds
        + evaluations
    )
    return {
        **{k: v for k, v in vars(measured).items() if k != "memory"},
        "memory": vars(measured.memory),
        "flops_per_second": measured.flops / measured.step_seconds,
        "examples_per_second": program.config.batch_size / measured.step_seconds,
        "run_seconds": seconds,
        "fits": True,
    }


def _describe_compiled(
    target: topology.Topology, program: Program, compiled: CompiledStep, price: float | None
) -> dict[str, Any]:
    memory, chip = compiled.memory, target.chip
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
    times = _step_times(target, program, compiled)
    facts |= {
        "traffic_bytes": compiled.traffic,
        "collectives": _collective_table(target, compiled),
        "step": {**vars(times), "shortest": times.shortest, "longest": times.longest},
        "run": {},
    }
    for which, seconds in (("if_hidden", times.shortest), ("if_not_hidden", times.longest)):
        hours = program.durations.total_steps * seconds / 3600
        facts["run"][which] = {
            "step_seconds": seconds,
            "utilization": times.utilization(compiled.flops, compiled.work, seconds),
            "examples_per_second": program.config.batch_size / seconds,
            "hours": hours,
            "cost": None if price is None else price * hours * target.count,
        }
    return facts


def _step_times(target: topology.Topology, program: Program, compiled: CompiledStep) -> Estimate:
    return estimate_step(
        target,
        program.config.precision,
        compiled.devices,
        compiled.work,
        compiled.traffic,
        compiled.sent,
    )


def _collective_table(target: topology.Topology, compiled: CompiledStep) -> list[dict[str, Any]]:
    """Returns a row for all collectives of one kind, shape, group and stage, most bytes first."""
    rows: dict[Any, dict[str, Any]] = {}
    totals: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for c in compiled.sent:
        shapes = " ".join(dict.fromkeys(map(str, c.shapes)))
        network = count_domains(c, compiled.devices, target) > 1
        kind = f"{c.kind}, network" if network else c.kind
        key = (kind, len(c.group), shapes if len(c.shapes) < 4 else "several", _stage_of(c.source))
        rows[key] = dict(zip(("kind", "group", "arrays", "of"), key, strict=True))
        seconds = link_seconds(c, compiled.devices, target)
        for i, value in enumerate((c.runs, c.runs * c.bytes, c.sent, seconds)):
            totals[key][i] += value
    names = ("count", "bytes", "sent_bytes", "seconds")
    table = [row | dict(zip(names, totals[key], strict=True)) for key, row in rows.items()]
    return sorted(table, key=lambda row: -row["sent_bytes"])


def _stage_of(source: str) -> str:
    """Returns the part of the step; jax names operations of gradients `transpose(jvp(...))`."""
    return "backward" if "transpose(" in source else "forward" if "jvp(" in source else "update"


def _try_remedies(
    target: topology.Topology, program: Program, data: Dataset, devices: Any
) -> list[dict[str, Any]]:
    """Compiles changed configs until some fit. Returns what was tried: what fits first, then by
    time."""
    tries: list[dict[str, Any]] = []
    for changes in remedies.remedy_rounds(program.config, target.count):
        for change in changes:
            try:
                changed = Program(
                    change_config(program.config, change), data.spec, program.train_examples
                )
                compiled = compile_step(changed, devices)
            except UserError:  # e.g. the batch does not divide any further
                continue
            fits = not compiled.complaint and compiled.memory.total <= target.chip.hbm
            times = None if compiled.complaint else _step_times(target, changed, compiled)
            tries.append(
                {
                    "flags": remedies.flags_of(change),
                    "fits": fits,
                    "memory": compiled.memory.total,
                    "step_seconds": [times.shortest, times.longest] if times else None,
                }
            )
            say(f"tried {tries[-1]['flags']}: {page.describe_remedy(tries[-1])}")
        if any(row["fits"] for row in tries):
            break
    no_time = [float("inf")] * 2
    return sorted(
        tries, key=lambda r: (not r["fits"], (r["step_seconds"] or no_time)[1], r["memory"])
    )
