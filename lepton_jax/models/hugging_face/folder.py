"""Reads and writes Hugging Face folders: `config.json` and `model.safetensors`, maybe in parts.

The tables of names are the families of `models/hugging_face/`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from lepton_jax.config.components import Component
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.io.weight_files import PRETRAINED, PRETRAINED_INDEX, read_safetensors
from lepton_jax.models.hugging_face import FAMILIES, Family, Keys, complete_keys
from lepton_jax.models.hugging_face.family import FIXED, NEUTRAL

CONFIG = "config.json"

Arrays = dict[str, np.ndarray]


class Pretrained(NamedTuple):
    """What a folder holds for a model of ours."""

    weights: Arrays
    """By our names, in our layouts. A head is missing where the folder has none."""
    head: tuple[str, ...]
    """Prefixes of our names of the head, which a new task begins anew."""
    not_read: list[str]
    """What the folder holds beside, that cannot matter: keys and arrays, a line each."""


def read_pretrained(
    folder: epath.Path, model: Component, input_shape: Any, outputs: Any
) -> Pretrained:
    """Reads the weights of a folder for `model`. Of learned positions the first are returned, as
    many as `model` has.

    Raises:
      UserError: when a key of the folder's architecture differs from `model`'s, an array is
        missing, or there is one that `model` does not compute with.
    """
    theirs = _read_object(folder / CONFIG) if (folder / CONFIG).exists() else {}
    family = _family_of(theirs, model, folder)
    keys = complete_keys(model.keys)
    _check(family, family.normalize(theirs), keys, input_shape, outputs, folder)
    arrays = _read_arrays(folder)
    weights: Arrays = {}
    read: set[str] = set()
    for rule in family.rules(keys):
        # A model that was saved without its head is the base alone.
        names = (rule.theirs, rule.theirs.removeprefix(family.base))
        name = next((name for name in names if name in arrays), None)
        if name is not None:
            read.add(name)
            array = _floating(arrays[name], name, folder)
            parts = np.split(rule.layout.ours(array), len(rule.ours), axis=-1)
            weights |= dict(zip(rule.ours, parts, strict=True))
        elif not rule.ours[0].startswith(family.head):
            raise UserError(f"init_from = {str(folder)!r} lacks {rule.theirs}")
    lines = _list_unread(family, arrays, read, folder)
    unknown = family.normalize(theirs).keys() - _known_keys(family, keys, input_shape, outputs)
    lines += [f"{CONFIG}: {k} = {theirs[k]!r}" for k in theirs if k in unknown]
    if "positions.embedding" in weights and family.length:
        weights["positions.embedding"] = weights["positions.embedding"][: input_shape[0]]
    stacked = _stack_layers(weights) if keys.get("scan") else weights
    return Pretrained(stacked, family.head, lines)


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
    fixed = {**FIXED, **family.fixed}.items()
    faults += [
        f"{name} = {theirs[name]!r} there, and {value!r} here"
        for name, value in fixed
        if theirs.get(name) not in (None, value)
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


def _known_keys(family: Family, keys: Keys, input_shape: Any, outputs: Any) -> set[str]:
    """Returns the keys of their config that are compared, or that change nothing."""
    compared = {name for name, _ in family.keys.values()} | {family.length}
    follows = family.follows(keys, input_shape, outputs).keys()
    return compared | {*follows, *FIXED, *family.fixed, *NEUTRAL, *family.neutral}


def _list_unread(family: Family, arrays: Arrays, read: set[str], folder: epath.Path) -> list[str]:
    """Lists the arrays of a folder that are not read and cannot matter, a line of them.

    Raises:
      UserError: when there are others: the folder holds another model than `family`'s.
    """
    left = {name: array for name, array in arrays.items() if name not in read}
    for name, first in family.copies.items():
        original = next((arrays[n] for n in (first, first.removeprefix(family.base))
                         if n in arrays), None)  # fmt: skip
        copy = left.get(name)
        if copy is not None and original is not None and np.array_equal(copy, original):
            del left[name]
    other = [name for name in left if not re.fullmatch(family.unread, name)]
    if other:
        raise UserError(
            f"init_from = {str(folder)!r} is another model than the config's: {len(other)} of its "
            f"arrays are not of {family.model!r} with these keys, such as "
            f"{', '.join(sorted(other)[:3])}"
        )
    # Counters and fixed tables are no weights; the others are those of heads for another task.
    heads = [n for n in left if left[n].dtype.kind not in "iub" and not n.endswith(_TABLES)]
    return [f"{len(heads)} arrays of other heads: {', '.join(sorted(heads)[:3])}"] * bool(heads)


_TABLES = ("inv_freq", ".attn.bias", ".attn.masked_bias")


def _floating(array: np.ndarray, name: str, folder: epath.Path) -> np.ndarray:
    """Returns an array of weights. Raises `UserError` for whole numbers and for NaN."""
    if array.dtype.kind in "iub":
        raise UserError(
            f"init_from = {str(folder)!r}: {name} holds {array.dtype}, as quantized models do; "
            "expected floating numbers"
        )
    if not np.isfinite(array.astype(np.float32)).all():
        raise UserError(f"init_from = {str(folder)!r}: {name} holds NaN or infinity")
    return array


def _read_object(file: epath.Path) -> dict[str, Any]:
    """Reads a JSON object. Raises `UserError` when the file holds something else."""
    try:
        value = json.loads(file.read_text())
    except ValueError as e:
        raise UserError(f"{file} is not JSON: {e}") from None
    if not isinstance(value, dict):
        raise UserError(f"{file} holds a {type(value).__name__}; expected an object {{...}}")
    return value


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
        index = _read_object(folder / PRETRAINED_INDEX).get("weight_map")
        if not isinstance(index, dict) or not index:
            raise UserError(f"{folder / PRETRAINED_INDEX} has no weight_map of arrays to files")
        parts = sorted(set(index.values()))
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
