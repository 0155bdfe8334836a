"""Folders of Hugging Face, read into a model of ours and written from one.

`config.json` and `model.safetensors`, which may be in several parts. What is called what there is
said in `models/hugging_face/`.
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
    """The weights there by our names, in our layouts; without a head where there is none.

    Of learned positions the first are taken, as many as `model` has.

    Raises:
      UserError: when `folder` holds another architecture than `model`, key by key, or lacks an
        array of it.
    """
    theirs = json.loads((folder / CONFIG).read_text()) if (folder / CONFIG).exists() else {}
    family = _family_of(theirs, model, folder)
    keys = complete_keys(model.keys)
    _check(family, family.settled(theirs), keys, input_shape, outputs, folder)
    given = _arrays(folder)
    found: Arrays = {}
    for rule in family.rules(keys):
        # A model that was saved without its head is the base alone.
        names = (rule.theirs, rule.theirs.removeprefix(family.base))
        array = next((given[name] for name in names if name in given), None)
        if array is not None:
            parts = np.split(rule.layout.ours(array), len(rule.ours), axis=-1)
            found |= dict(zip(rule.ours, parts, strict=True))
        elif not rule.ours[0].startswith(family.head):
            raise UserError(f"init_from = {str(folder)!r} lacks {rule.theirs}")
    if "positions.embedding" in found and family.length:
        found["positions.embedding"] = found["positions.embedding"][: input_shape[0]]
    return _stacked(found) if keys.get("scan") else found


def write_pretrained(
    folder: epath.Path, weights: Mapping[str, np.ndarray], model: Component,
    input_shape: Any, outputs: Any, classes: tuple[str, ...],
) -> tuple[str, int]:  # fmt: skip
    """Writes a model as `transformers` loads it. Its architecture there, and how many arrays.

    Raises:
      UserError: when no family has a model with these keys.
    """
    from safetensors.numpy import save

    keys = complete_keys(model.keys)
    family = _family_for(model.name, keys)
    named = dict(_unstacked(weights)) if keys.get("scan") else weights
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
        known = sorted({family.model_type for family in FAMILIES})
        raise UserError(
            f"init_from = {str(folder)!r} is of the type {kind!r} (config.json); known are "
            f"{', '.join(known)}{did_you_mean(str(kind), known)}"
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
        known = sorted({f.model for f in FAMILIES})
        raise UserError(
            f"model {name!r} has no counterpart in transformers{did_you_mean(name, known)}; "
            f"those with one: {', '.join(known)}"
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
                faults.append(f"{name} = {theirs[name]!r} there, and {value!r} of this config")
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


def _arrays(folder: epath.Path) -> Arrays:
    """Every array of a folder, by its name there."""
    parts = [PRETRAINED]
    if not (folder / PRETRAINED).exists():
        index = json.loads((folder / PRETRAINED_INDEX).read_text())
        parts = sorted(set(index["weight_map"].values()))
    found: Arrays = {}
    for part in parts:
        if not (folder / part).exists():
            raise UserError(
                f"init_from = {str(folder)!r} lacks {part}, which {PRETRAINED_INDEX} names"
            )
        found |= read_safetensors(folder / part)
    # As norms' arrays were called once, in BERT's own files.
    older = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    for name in list(found):
        for old, new in older.items():
            if name.endswith(old):
                found[name.removesuffix(old) + new] = found.pop(name)
    return found


def _stacked(weights: Arrays) -> Arrays:
    """`blocks.0.x`, `blocks.1.x` ... as one `blocks.x` [L, ...]."""
    found: Arrays = {}
    layers: dict[str, list[tuple[int, np.ndarray]]] = {}
    for name, array in weights.items():
        first, *rest = name.split(".", 2)
        if first == "blocks":
            number, part = rest
            layers.setdefault(part, []).append((int(number), array))
        else:
            found[name] = array
    for part, numbered in layers.items():
        found[f"blocks.{part}"] = np.stack([x for _, x in sorted(numbered, key=lambda n: n[0])])
    return found


def _unstacked(weights: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, array in weights.items():
        if not name.startswith("blocks."):
            yield name, array
            continue
        for i, layer in enumerate(array):
            yield f"blocks.{i}.{name.removeprefix('blocks.')}", layer
