"""The test set that a bundle's recorded result was measured on, where it is at hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.answers.kind import Kind, MeasuredAgain, find_kind_or_numbers, is_user_kind
from lepton_jax.errors import UserError, WorkError
from lepton_jax.serving import loader

_FOREIGN = (
    "the user's own code reads it, and verify runs no code that only a bundle names; give "
    "--workdir, the run that the bundle came from"
)


@dataclass(frozen=True)
class HeldOut:
    """Every example of the test split, and what the record says of it."""

    inputs: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    classes: tuple[str, ...]
    kind: MeasuredAgain
    recorded: float
    """The recorded result, of the kind's metric."""
    find_texts: Callable[[int], list[str]]
    """Finds the texts of an example, where the inputs are made of texts."""

    def __len__(self) -> int:
        return len(next(iter(self.truth.values())))

    def measure(self, answers: Mapping[str, np.ndarray]) -> float:
        """Returns the metric of answers to the inputs."""
        return self.kind.measure(answers, self.truth, self.classes)

    @property
    def allowed(self) -> float:
        """How far the measured metric may lie from the recorded one."""
        return self.kind.allowed(len(self))


def load_test_set(folder: Path, workdir: str | None) -> HeldOut | str:
    """Loads the test set of the bundle in `folder`.

    The bundle's lineage names the data, and is trusted no further: only sources of lepton_jax are
    built from it. Sources of the user's own are built from the run in `workdir`. Data is used only
    if it has the recorded fingerprint.

    Returns:
      The test set, or a sentence saying why there is none.
    """
    lineage, metrics, signature = (
        loader.read_object(folder, f"{name}.json") for name in ("lineage", "metrics", "signature")
    )
    name = signature.get("answer", "numbers")
    kind, note = find_bundle_kind(name, trusted=workdir is not None)
    if note:
        return note
    if not isinstance(kind, MeasuredAgain):
        return f"answers of the kind {name!r} are not measured again"
    try:
        recorded = float(metrics["test"][kind.metric])
    except (KeyError, TypeError, ValueError, OverflowError):
        return f"the record holds no test {kind.metric}"
    try:
        section = _data_section(lineage, workdir)
        data = _load(section, folder, trusted=workdir is not None)
    except (UserError, WorkError, ValueError, TypeError, KeyError) as e:
        return f"not at hand: {str(e).splitlines()[0]}"
    if data.fingerprint != lineage["data_fingerprint"]:
        return "not at hand: the data found here is not what the model was trained on"
    columns = data.splits["test"].columns
    absent = [name for name in kind.truth_fields if name not in columns]
    if absent:
        return f"these answers are not measured again: the data has no field {absent[0]!r}"
    inputs = {name: np.asarray(columns[name]) for name in signature["inputs"]}
    truth = {name: np.asarray(columns[name]) for name in kind.truth_fields}

    def find_texts(i: int) -> list[str]:
        assert data.texts is not None
        return list(data.texts.example("test", data.splits["test"], i)["texts"])

    return HeldOut(inputs, truth, tuple(data.spec.classes), kind, recorded, find_texts)


def find_bundle_kind(name: str, trusted: bool) -> tuple[Kind, str]:
    """Returns the kind of answer that a bundle names, and ""; or numbers, and why it is these.

    A kind of the user's own is code: it is used only where the user gave the run (`trusted`).
    """
    if is_user_kind(name) and not trusted:
        return find_kind_or_numbers("numbers")[0], (
            f"answers of the kind {name!r} are taken as numbers: verify runs no code that only a "
            "bundle names; give --workdir, the run that the bundle came from"
        )
    return find_kind_or_numbers(name)


def _data_section(lineage: Mapping[str, Any], workdir: str | None) -> Mapping[str, Any]:
    if workdir is None:
        return lineage["config"]["data"]
    from lepton_jax.training.saved import read_config

    return read_config(workdir).to_dict()["data"]


def _load(section: Mapping[str, Any], folder: Path, trusted: bool) -> Any:
    """Loads the data of a config's section, its texts by the bundle's own tokenizer.

    Args:
      trusted: whether the section comes from the user's run, and not from the bundle.
    """
    from lepton_jax.config import pipeline
    from lepton_jax.config.components import Component, resolve_component
    from lepton_jax.config.validation import parse_pipeline
    from lepton_jax.data import dataset

    source = dict(section["source"])
    train_decode = section.get("train_decode", "")
    transforms = [*pipeline.parse_calls(section["decode"]), *pipeline.parse_calls(train_decode)]
    encode = dict(section.get("encode") or {})
    names = [source["name"], *(call.name for call in transforms), encode.get("name", "")]
    if not trusted and any(":" in name for name in names):
        raise ValueError(_FOREIGN)
    if any("<path>" in str(value) for value in source.values()):
        raise ValueError(
            "the lineage keeps no local paths; give --workdir, the run that the bundle came from"
        )
    build, name = resolve_component("source", source.pop("name")), encode.pop("name", "")
    return dataset.load_dataset(
        build(**_as_declared(build, source, trusted)),
        decode=parse_pipeline("host transform", section["decode"]),
        valid_fraction=section["valid_fraction"],
        split_seed=section["split_seed"],
        train_decode=parse_pipeline("host transform", train_decode),
        tokenizer=loader.read_file(folder, "tokenizer.json").decode() if name else None,
        encode=Component("encoding", name, encode) if name else None,
        fold=_fold(section),
    )


def _fold(section: Mapping[str, Any]) -> Any:
    from lepton_jax.data.folds import Fold

    if section.get("folds") is None:  # absent from a config that is older than folds
        return None
    return Fold(section["fold"], section["folds"], section["folds_of"], section["split_seed"])


def _as_declared(component: Any, keys: Mapping[str, Any], trusted: bool) -> dict[str, Any]:
    """Converts values from JSON to the types that a source declares: lists to tuples, and texts to
    the sources that they name.
    """
    from lepton_jax.config.pipeline import Pipeline
    from lepton_jax.config.schema import coerce_value, signature_keys
    from lepton_jax.config.validation import parse_pipeline

    declared, values = signature_keys(component), dict(keys)
    for name in declared.keys() & keys.keys():
        if declared[name].annotation is not Pipeline:
            values[name] = coerce_value(keys[name], declared[name].annotation)
        elif not trusted and ":" in keys[name]:
            raise ValueError(_FOREIGN)
        else:
            values[name] = parse_pipeline("source", keys[name])
    return values
