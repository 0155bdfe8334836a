"""A data set ready for training: every split decoded to columns, 'valid' carved if need be."""

import hashlib
import json
import sys
from dataclasses import dataclass

from lepton_jax.data import cache, objects
from lepton_jax.data.labels import check_labels, hides_labels
from lepton_jax.data.source import Columns, Source, Split, subset
from lepton_jax.data.split import carve
from lepton_jax.data.streamed import Streamed
from lepton_jax.data.vocabulary import Vocabulary
from lepton_jax.errors import UserError

RESERVED = ("position", "mask", "seed")
"""Fields that a batch gets beside those of the data: where an example of a training batch lies in
it; whether one of an evaluation counts, and its number in its split, from which all is drawn that
an evaluation draws.
"""


@dataclass(frozen=True)
class FieldSpec:
    """One field of an example: its shape, without a batch axis, and its dtype's name."""

    shape: tuple[int, ...]
    dtype: str


SEED = FieldSpec((), "uint32")


@dataclass(frozen=True)
class DataSpec:
    """What a model and a task are built from: the fields of an example, the names of its classes,
    and the vocabulary that its tokens are of.
    """

    fields: dict[str, FieldSpec]
    classes: tuple[str, ...]
    vocabulary: Vocabulary | None = None


@dataclass(frozen=True)
class Dataset:
    """Decoded splits. `fingerprint` names the source, the decoding and the carving together."""

    splits: dict[str, Columns]
    spec: DataSpec
    fingerprint: str


def load(
    source: Source,
    *,
    decode: str,
    valid_fraction: float,
    split_seed: int,
    train_decode: str = "",
) -> Dataset:
    """Decodes a source, or finds it decoded.

    Main arguments:
      source: where the examples come from.
      decode: host pipeline, e.g. `'resize(32)|rgb'`; see `host.py`.
    Other arguments:
      valid_fraction: share of 'train' that becomes 'valid', if the source has no 'valid'.
      split_seed: of the hash that chooses it.
      train_decode: instead of `decode` for 'train', which is then never decoded beforehand.

    A split whose labels are withheld is left out.

    Raises:
      UserError: when examples cannot be decoded, differ in shape after it, have a label that
        names no class or an impossible box, or a split is empty.
    """
    if not source.splits:
        raise UserError(f"{source.description}: has no splits")
    parts: dict[str, tuple[Split, str]] = {
        name: (split, source.fingerprint) for name, split in source.splits.items()
    }
    carving = None
    if valid_fraction > 0 and "train" in parts and "valid" not in parts:
        carving = f"valid_fraction {valid_fraction!r} split_seed {split_seed}"
        train = source.splits["train"]
        sides = carve(len(train), valid_fraction, split_seed)
        for name, index in zip(("train", "valid"), sides, strict=True):
            if len(index) == 0:
                raise UserError(
                    f"data.valid_fraction = {valid_fraction} of {len(train)} training examples "
                    f"leaves {name!r} empty"
                )
            parts[name] = (subset(train, index), f"{source.fingerprint} {carving}")
    splits: dict[str, Columns] = {}
    for name, (split, fingerprint) in parts.items():
        if train_decode and name == "train":
            if len(split) == 0:
                raise UserError("split 'train' has no examples")
            splits[name] = Streamed(
                split, name, source.classes, decode=decode, train_decode=train_decode
            )
            continue
        columns = cache.columns(split, name=name, fingerprint=fingerprint, decode=decode)
        if name != "train" and hides_labels(columns):
            print(f"split {name!r} has no labels: it is left out", file=sys.stderr)
            continue
        splits[name] = columns
    check_labels(splits, {name: split for name, (split, _) in parts.items()}, source.classes)
    for name, columns in splits.items():
        objects.check(columns.columns, name, source.classes)
    identity = json.dumps(
        [source.fingerprint, decode, carving, *([train_decode] if train_decode else [])]
    )
    return Dataset(
        splits=splits,
        spec=DataSpec(_fields(splits), source.classes, source.vocabulary),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _fields(splits: dict[str, Columns]) -> dict[str, FieldSpec]:
    specs = {
        split: {k: FieldSpec(c.shape[1:], c.dtype.name) for k, c in columns.columns.items()}
        for split, columns in splits.items()
    }
    first = "train" if "train" in specs else next(iter(specs))
    for split, fields in specs.items():
        if fields != specs[first]:
            raise UserError(
                f"split {split!r} and split {first!r} differ in their fields: "
                f"{_shown(fields)} against {_shown(specs[first])}"
            )
    for name in RESERVED:
        if name in specs[first]:
            raise UserError(f"a field of the data is called {name!r}, which batches use themselves")
    return specs[first]


def _shown(fields: dict[str, FieldSpec]) -> str:
    return ", ".join(f"{k} {f.dtype} {list(f.shape)}" for k, f in sorted(fields.items()))
