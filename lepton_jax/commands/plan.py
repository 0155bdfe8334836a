"""The command `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lepton_jax.cli.arguments import command
from lepton_jax.errors import UserError


@dataclass(frozen=True)
class Plan:
    """What a run needs, in numbers, and whether it fits."""

    facts: dict[str, Any]
    fits: bool

    @property
    def ok(self) -> bool:
        return self.fits

    def as_json(self) -> dict[str, Any]:
        return self.facts

    def __str__(self) -> str:
        from lepton_jax.plan.page import format_plan

        return format_plan(self.facts)

    __repr__ = __str__


@command
def plan(
    config: Any,
    *,
    overrides: Mapping[str, str] | None = None,
    topology: str = "",
    price: Annotated[float | None, ">= 0"] = None,
) -> Plan:
    """Estimates what a run needs and how long it takes; exit code 1 if it does not fit.

    --config=NAME[:ARG]             a recipe by its name or FILE.py; some have a :synthetic form,
                                    which needs no data
    --config.path.to.key=value      overrides one key of it, e.g. the strategy
    --topology=CHIP:SHAPE           compiles for these chips with their compiler: v4, v5e, v5p, v6e,
                                    a100, h100, h200; 2xv6e:4x4 are two slices. By default this
                                    machine takes a few steps
    --price=NUMBER                  the price of one of its chips for an hour, for the run's cost

    Examples:
      python launch.py plan --config=digits_cnn
      python launch.py plan --config=cifar10_cnn:tiny --topology=v5e:2x2 \\
          --config.strategy.name=pmap
    """
    from lepton_jax.config.config_file import resolve_config
    from lepton_jax.plan.topology import parse_topology, prepare_environment

    if price is not None and not topology:
        raise UserError("plan: --price is that of a topology's chips; add --topology=CHIP:SHAPE")
    target = parse_topology(topology) if topology else None
    if target:
        prepare_environment()
    resolved, _ = resolve_config(config, overrides or {})

    from lepton_jax.plan.plan import plan_run

    facts = plan_run(resolved, target, price)
    return Plan(facts, facts["fits"])
