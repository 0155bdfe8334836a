"""Reads and writes Hugging Face folders: `config.json` and `model.safetensors`, maybe in parts.

The tables of names are the families of `models/hugging_face/`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from lepton_jax.config.components import Component
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.io.weight_files import PRETRAINED, PRETRAINED_INDEX, read_safetensors
from lepton_jax.models.hugging_face import FAMILIES, Family, Keys, complete_keys

CONFIG = "config.json"

Arrays = dict[str, np.ndarray]


def read_pretrained(folder: epath.Path, model: Component, input_shape: Any, outputs: Any) -> Arrays:
    """Reads the weights of a folder; returns them by our names, in our layouts.

    A head is missing where the folder has none. Of learned positions the first are returned, as
    many as `model` has.

    Raises:
      UserError: when a key of the folder's architecture differs from `model`'s, or an array is
        missing.
    """
    theirs = json.loads((folder / CONFIG).read_text()) if (folder / CONFIG).exists() else {}
    family = _family_of(theirs, model, folder)
    keys = complete_keys(model.keys)
    _check(family, family.normalize(theirs), keys, input_shape, outputs, folder)
    arrays = _read_arrays(folder)
    weights: Arrays = {}
    for rule in family.rules(keys):
        # A model that was saved without its head is the base alone.
        names = (rule.theirs, rule.theirs.removeprefix(family.base))
        array = next((arrays[name] for name in names if name in arrays), None)
        if array is not None:
            parts = np.split(rule.layout.ours(array), len(rule.ours), axis=-1)
            weights |= dict(zip(rule.ours, parts, strict=True))
        elif not rule.ours[0].startswith(family.head):
            raise UserError(f"init_from = {str(folder)!r} lacks {rule.theirs}")
    if "positions.embedding" in weights and family.length:
        weights["positions.embedding"] = weights["positions.embedding"][: input_shape[0]]
    return _stack_layers(weights) if keys.get("scan") else weights


def write_pretrained(
    folder: epath.Path, weights: Mapping[str, np.ndarray], model: Component,
    input_shape: Any, outputs: Any, classes: tuple[str, ...],
) -> tuple[str, int]:  # fmt: skip
    """Writes a model as `transformers` loads it; returns its architecture and number of arrays.

    Raises:
      UserError: when no family has a model with these keys.
    """
    from safetensors.numpy import save

    keys = complete_keys(model.keys)
    family = _family_for(model.name, keys)
    named = dict(_unstack_layers(weights)) if keys.get("scan") else weights
    arrays = {
        rule.theirs: np.ascontiguousarray(
            rule.layout.theirs(np.concatenate([named[name] for name in rule.ours], axis=-1))
        )
        for rule in family.rules(keys)
    }
    config = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "dtype": str(next(iter(arrays.values())).dtype),
        **{there: _theirs(family, keys[ours]) for ours, (there, _) in family.keys.items()},
        **family.follows(keys, input_shape, outputs),
    }
    if family.length:
        config[family.length] = input_shape[0]
    if classes:
        config["id2label"] = {str(i): name for i, name in enumerate(classes)}
        config["label2id"] = {name: i for i, name in enumerate(classes)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / PRETRAINED).write_bytes(save(arrays, metadata={"format": "pt"}))
    return family.architecture, len(arrays)


def _family_of(theirs: Keys, model: Component, folder: epath.Path) -> Family:
    kind = theirs.get("model_type") or ("timm" if "architecture" in theirs else None)
    of_kind = [family for family in FAMILIES if family.model_type == kind]
    if not of_kind:
        types = sorted({family.model_type for family in FAMILIES})
        raise UserError(
            f"init_from = {str(folder)!r} is of the type {kind!r} (config.json); known are "
            f"{', '.join(types)}{did_you_mean(str(kind), types)}"
        )
    of_model = [family for family in of_kind if family.model == model.name]
    if not of_model:
        names = " or ".join(repr(family.model) for family in of_kind)
        raise UserError(
            f"init_from = {str(folder)!r} is of the type {kind!r}: expected model.name = {names}, "
            f"got {model.name!r}"
        )
    return of_model[0]


def _family_for(name: str, keys: Keys) -> Family:
    of_model = [f for f in FAMILIES if f.model == name and f.architecture]
    if not of_model:
        models = sorted({f.model for f in FAMILIES})
        raise UserError(
            f"model {name!r} has no counterpart in transformers{did_you_mean(name, models)}; "
            f"models with one: {', '.join(models)}"
        )
    for family in of_model:
        if all(keys[k] == v for k, v in family.ours.items()):
            return family
    wanted = "\n".join(
        f"  {family.architecture}: "
        + ", ".join(f"model.{k} = {keys[k]!r}, expected {v!r}" for k, v in family.ours.items()
                    if keys[k] != v)
        for family in of_model
    )  # fmt: skip
    raise UserError(f"model {name!r} with these keys has no counterpart in transformers:\n{wanted}")


def _check(
    family: Family, theirs: Keys, keys: Keys, input_shape: Any, outputs: Any, folder: epath.Path
) -> None:
    """Raises `UserError` naming every key that differs, with both values."""
    faults = []
    there = {ours: theirs.get(name, default) for ours, (name, default) in family.keys.items()}
    there = complete_keys({ours: _ours(family, value) for ours, value in there.items()})
    for ours, (name, _) in family.keys.items():
        if _plain(keys[ours]) != there[ours]:
            faults.append(f"model.{ours} = {keys[ours]!r}, there {there[ours]!r} ({name})")
    faults += [
        f"model.{ours} = {keys[ours]!r}, there {value!r} ({family.model_type})"
        for ours, value in family.ours.items()
        if keys[ours] != value
    ]
    if not faults:  # what follows from keys that differ would only repeat them
        for name, value in family.follows(keys, input_shape, outputs).items():
            if theirs.get(name) not in (None, value):
                faults.append(f"{name} = {theirs[name]!r} there, and {value!r} here")
    most = theirs.get(family.length)
    if most is not None and most < input_shape[0]:
        faults.append(f"{family.length} = {most} there, and texts of {input_shape[0]} tokens here")
    if faults:
        raise UserError(
            "\n  ".join(
                [f"init_from = {str(folder)!r} is another model than the config's:", *faults]
            )
        )


def _ours(family: Family, value: Any) -> Any:
    return family.values.get(value, value) if isinstance(value, str) else value


def _theirs(family: Family, value: Any) -> Any:
    same = (k for k, v in family.values.items() if type(v) is type(value) and v == value)
    return next(same, _plain(value))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_arrays(folder: epath.Path) -> Arrays:
    """Reads every array of a folder, by its name there."""
    parts = [PRETRAINED]
    if not (folder / PRETRAINED).exists():
        index = json.loads((folder / PRETRAINED_INDEX).read_text())
        parts = sorted(set(index["weight_map"].values()))
    arrays: Arrays = {}
    for part in parts:
        if not (folder / part).exists():
            raise UserError(
                f"init_from = {str(folder)!r} lacks {part}, which {PRETRAINED_INDEX} names"
            )
        arrays |= read_safetensors(folder / part)
    # Older names of the norms' arrays, in BERT's own files.
    older = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    for name in list(arrays):
        for old, new in older.items():
            if name.endswith(old):
                arrays[name.removesuffix(old) + new] = arrays.pop(name)
    return arrays


def _stack_layers(weights: Arrays) -> Arrays:
    """Stacks `blocks.0.x`, `blocks.1.x` ... as one `blocks.x` [L, ...]."""
    stacked: Arrays = {}
    layers: dict[str, list[tuple[int, np.ndarray]]] = {}
    for name, array in weights.items():
        first, *rest = name.split(".", 2)
        if first == "blocks":
            number, part = rest
            layers.setdefault(part, []).append((int(number), array))
        else:
            stacked[name] = array
    for part, numbered in layers.items():
        stacked[f"blocks.{part}"] = np.stack([x for _, x in sorted(numbered, key=lambda n: n[0])])
    return stacked


def _unstack_layers(weights: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, array in weights.items():
        if not name.startswith("blocks."):
            yield name, array
            continue
        for i, layer in enumerate(array):
            yield f"blocks.{i}.{name.removeprefix('blocks.')}", layer
