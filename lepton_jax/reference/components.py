"""Components of every kind: what there is, and what one of them is and takes."""

import functools
import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lepton_jax.config.components import TABLES, component_keys, resolve_component
from lepton_jax.config.config import Config, DataConfig
from lepton_jax.config.definitions import read_definition
from lepton_jax.config.schema import TRACED, Key, optax_keys, signature_keys
from lepton_jax.errors import UserError
from lepton_jax.nearest import find_nearest
from lepton_jax.reference.description import Description, describe_keys
from lepton_jax.reference.docstrings import Documentation, read_docstring

KINDS: Mapping[str, str] = {
    "model": "Flax modules that are trained",
    "task": "how a batch becomes a loss, metrics and predictions",
    "answer": "kinds of answers: how they are compared and shown",
    "source": "where examples come from",
    "tokenizer": "how texts become tokens",
    "encoding": "how the tokens of an example become its fields",
    "host transform": "transforms of raw examples on the host",
    "transform": "transforms of batches on the device",
    "optimizer": "how gradients change the parameters",
    "schedule": "the learning rate over a run",
    "metric": "what is measured beside the loss",
    "strategy": "how a step is placed on devices",
    "writer": "trackers that show a record",
}
"""Every kind of component, with what it is."""

SECTIONS: Mapping[str, str] = {
    "model": "config.model",
    "task": "config.task",
    "source": "config.data.source",
    "tokenizer": "config.data.tokenizer",
    "encoding": "config.data.encode",
    "optimizer": "config.optimizer",
    "schedule": "config.schedule",
    "metric": "config.metrics.NAME",
    "strategy": "config.strategy",
    "writer": "config.writers.NAME",
}
"""The section of a config that chooses a component of a kind, by its name."""

PIPELINES: Mapping[str, tuple[str, str]] = {
    "host transform": ("config.data.decode", "config.data.train_decode"),
    "transform": ("config.data.augment", "config.data.prepare"),
}
"""The pipelines of a config that hold transforms of a kind."""


def describe_component(kind: str, name: str) -> Description:
    """Describes a component by its short name, or a user's own by `my_pkg.module:Name`.

    Raises:
      UserError: where there is none so called, with the nearest one.
    """
    keys, documentation = _read(kind, name)
    place = TABLES[kind].get(name, "")
    details = documentation.details
    more: tuple[str, ...] = ()
    if kind == "optimizer":  # optax's own pages say the rest
        details, more = "", ("describe config.optimizer",)
    described = describe_keys(keys, documentation.keys, traced=kind in traced_kinds())
    heading, use = f"Keys of {SECTIONS.get(kind, kind)}", ""
    needed = [key.name for key in described if key.required]
    if kind in SECTIONS:
        section = SECTIONS[kind].replace("NAME", name.rpartition(":")[2])
        flags = [f"{section}.name={name}", *(f"{section}.{k}={k.upper()}" for k in needed)]
        use = " ".join(f"--{flag}" for flag in flags)
    if kind in PIPELINES:
        heading = "Arguments, in this order"
        call = f"{name}({', '.join(map(str.upper, needed))})"
        use = " or ".join(f"--{pipeline}='{call}'" for pipeline in PIPELINES[kind])
    return Description(
        f"{kind} {name}", place, documentation.summary, details, described, heading, use, more
    )


def list_components(kind: str) -> dict[str, str]:
    """Lists the components of a kind: the first sentence of each by its name."""
    return {name: _read(kind, name)[1].summary for name in sorted(TABLES[kind])}


@functools.cache
def traced_kinds() -> frozenset[str]:
    """Returns the kinds of components whose `Hyper` numbers enter the step, see `Traced`."""
    keys = (*signature_keys(Config).values(), *signature_keys(DataConfig).values())
    marks = {mark for key in keys if TRACED in key.marks for mark in key.marks}
    return frozenset({"optimizer"} | (marks & TABLES.keys()))


def _read(kind: str, name: str) -> tuple[dict[str, Key], Documentation]:
    """Reads a component's keys and its documentation, from its source if that says them.

    Else the component is imported, as one that a call has made.
    """
    module, _, attribute = TABLES[kind].get(name, name).partition(":")
    definition = read_definition(module, attribute) if attribute else None
    read_keys = optax_keys if kind == "optimizer" else signature_keys
    if definition is not None:
        with suppress(NameError, TypeError):  # of an annotation that only its module can read
            keys = read_keys(definition.stand_in())
            said = definition.documentation, definition.parameters_documentation
            return keys, read_docstring(*said)
    try:
        component = resolve_component(kind, name)
        return component_keys(kind, name), read_docstring(*_docstrings(component))
    except ValueError as e:
        near = None if ":" in name else find_nearest(name, TABLES[kind])
        raise UserError(str(e), instead=(name, near) if near else None) from None


def _docstrings(component: Any) -> tuple[str, str]:
    constructor = component.__init__ if inspect.isclass(component) else None
    return inspect.getdoc(component) or "", inspect.getdoc(constructor) or ""
