"""A data set ready for training: every split decoded to columns, 'valid' carved if need be."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.boxes import check
from lepton_jax.data import cache
from lepton_jax.data.fresh import Streamed
from lepton_jax.data.labels import check_labels, hides_labels
from lepton_jax.data.source import Columns, Element, Source, Split, origin, subset
from lepton_jax.data.split import carve
from lepton_jax.data.text.encodings import Encoding
from lepton_jax.data.text.tokenizer import Tokenizer, trained
from lepton_jax.data.text.vocabulary import Vocabulary
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.transforms import host

if TYPE_CHECKING:
    from lepton_jax.config.components import Component

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
    and the vocabulary that its tokens are of, with what makes texts of them, if there is that.
    """

    fields: dict[str, FieldSpec]
    classes: tuple[str, ...]
    vocabulary: Vocabulary | None = None
    tokenizer: Tokenizer | None = field(default=None, compare=False)

    def require(
        self, task: str, name: str, axes: int | tuple[int, ...], dtype: str = "", hint: str = ""
    ) -> FieldSpec:
        """The field `name`, with so many axes an example and a dtype whose name holds `dtype`.

        Raises:
          UserError: when the data has no such field: what `task` needs, what there is, and `hint`.
        """
        ranks = (axes,) if isinstance(axes, int) else axes
        field = self.fields.get(name)
        if field is not None and len(field.shape) in ranks and dtype in field.dtype:
            return field
        of = {"": "", "int": " of integers", "float": " of floats"}.get(dtype, f" of {dtype}")
        raise UserError(
            f"{task} needs a field {name!r}{of} with {' or '.join(map(str, ranks))} axes an "
            "example; the data has "
            + ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in self.fields.items())
            + (hint and f". {hint}")
        )

    def prompt(self, text: str) -> list[int]:
        """The tokens of a text that is to go on; words where there is no tokenizer to ask.

        Raises:
          UserError: for a word that is no token, and when there is none.
        """
        known = self.vocabulary
        assert known is not None
        if self.tokenizer is not None:
            found = self.tokenizer.prompt(text)
        else:
            number = {token: i for i, token in enumerate(known.tokens)}
            for word in text.split():
                if word not in number:
                    raise UserError(f"prompt: no token is {word!r}{did_you_mean(word, number)}")
            found = [number[word] for word in text.split()]
        if found:
            return found
        start = known.end if known.begin is None else known.begin
        if start is None:
            raise UserError(f"prompt {text!r} has no token: expected one at least")
        return [start]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those with a meaning of their own; words where there is no
        tokenizer to ask.
        """
        if self.tokenizer is not None:
            return self.tokenizer.decode(tokens)
        known = self.vocabulary
        assert known is not None
        apart = {known.pad, known.begin, known.end} if known.end is not None else set()
        return " ".join(known.tokens[i] for i in tokens if i not in apart)


@dataclass(frozen=True)
class Dataset:
    """Decoded splits. `fingerprint` names the source, the decoding and the carving together.

    Of data with texts also how they became tokens, and the `raw` examples that hold them.
    """

    splits: dict[str, Columns]
    spec: DataSpec
    fingerprint: str
    tokenizer: Tokenizer | None = None
    encoding: Encoding | None = None
    raw: Mapping[str, Split] = field(default_factory=dict)


def load(
    source: Source,
    *,
    decode: str,
    valid_fraction: float,
    split_seed: int,
    train_decode: str = "",
    tokenizer: "Component | str | None" = None,
    encode: "Component | None" = None,
) -> Dataset:
    """Decodes a source, or finds it decoded.

    Main arguments:
      source: where the examples come from.
      decode: host pipeline, e.g. `'resize(32)|rgb'`; see `host.py`.
    Other arguments:
      valid_fraction: share of 'train' that becomes 'valid', if the source has no 'valid'.
      split_seed: of the hash that chooses it.
      train_decode: instead of `decode` for 'train', which is then never decoded beforehand.
      tokenizer: what makes tokens of texts, and is trained on 'train' alone; or the text of a
        `tokenizer.json`, which is used as it is.
      encode: how examples with texts, after `decode`, become fields of tokens.

    A split whose labels are withheld is left out.

    Raises:
      UserError: when examples cannot be decoded, differ in shape after it, have a label that
        names no class or an impossible box, or a split is empty.
    """
    if not source.splits:
        raise UserError(f"{source.description}: has no splits")
    encoding: Encoding | None = encode.build() if encode is not None else None
    parts, carving = _carved(source, encoding, valid_fraction, split_seed)
    made: Tokenizer | None = None
    text_identity: list[Any] = []
    raw: dict[str, Split] = {}
    if encode is not None and encoding is not None and tokenizer is not None:
        raw = {name: _Read(split, decode) for name, (split, _) in parts.items()}
        trains_on = parts["train"][1] if "train" in parts else ""
        made = _tokenizer(tokenizer, raw, [trains_on, decode], encoding)
        text_identity = [made.digest, encode.name, dict(sorted(encode.keys.items()))]
        parts = {
            name: (
                encoding.encoded(raw[name], made),
                json.dumps([f, decode, text_identity]),
            )
            for name, (split, f) in parts.items()
        }
    splits: dict[str, Columns] = {}
    for name, (split, fingerprint) in parts.items():
        if train_decode and name == "train":
            if len(split) == 0:
                raise UserError("split 'train' has no examples")
            splits[name] = Streamed(
                split, name, source.classes, decode=decode, train_decode=train_decode
            )
            continue
        columns = cache.columns(
            split, name=name, fingerprint=fingerprint, decode="" if made else decode
        )
        if name == "train" and encoding is not None and hasattr(encoding, "trained_on"):
            columns = encoding.trained_on(columns)
        if name != "train" and hides_labels(columns):
            print(f"split {name!r} has no labels: it is left out", file=sys.stderr)
            continue
        _say_what_was_cut(name, columns)
        splits[name] = columns
    check_labels(splits, {name: split for name, (split, _) in parts.items()}, source.classes)
    for name, columns in splits.items():
        check.check(columns.columns, name, source.classes)
    identity = json.dumps(
        [
            *(source.fingerprint, decode, carving),
            *([train_decode] if train_decode else []),
            *text_identity,
        ]
    )
    vocabulary = made.vocabulary if made else source.vocabulary
    return Dataset(
        splits=splits,
        spec=DataSpec(_fields(splits), source.classes, vocabulary, made),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        tokenizer=made,
        encoding=encoding,
        raw=raw,
    )


Parts = dict[str, tuple[Split, str]]
"""Splits by name, each with the fingerprint of its contents."""


def _carved(
    source: Source, encoding: Encoding | None, fraction: float, seed: int
) -> tuple[Parts, str | None]:
    """The source's splits, and how 'valid' was carved from 'train', if it was."""
    parts: Parts = {name: (split, source.fingerprint) for name, split in source.splits.items()}
    if fraction == 0 or "train" not in parts or "valid" in parts:
        return parts, None
    train = source.splits["train"]
    sides: tuple[Split, Split]
    if encoding is not None and hasattr(encoding, "carved"):
        carving = f"last {fraction!r}"
        sides = encoding.carved(train, fraction)
    else:
        carving = f"valid_fraction {fraction!r} split_seed {seed}"
        into_train, into_valid = carve(len(train), fraction, seed)
        sides = (subset(train, into_train), subset(train, into_valid))
    for name, side in zip(("train", "valid"), sides, strict=True):
        if len(side) == 0:
            raise UserError(
                f"data.valid_fraction = {fraction} of {len(train)} training examples "
                f"leaves {name!r} empty"
            )
        parts[name] = (side, f"{source.fingerprint} {carving}")
    return parts, carving


def _tokenizer(
    chosen: "Component | str", raw: Mapping[str, Split], identity: list[Any], encoding: Encoding
) -> Tokenizer:
    """That of the text given, or one trained on the training split, which `identity` names."""
    if isinstance(chosen, str):
        return Tokenizer(chosen)
    if chosen.name == "pretrained":
        return Tokenizer(chosen.build(iter(())), f"data.tokenizer.path = {chosen.keys['path']!r}")
    if "train" not in raw:
        raise UserError("there is no split 'train' to train data.tokenizer on")

    def texts() -> Iterator[str]:
        for i in range(len(raw["train"])):
            try:
                yield from encoding.texts(raw["train"][i])
            except (UserError, OSError) as e:
                raise UserError(f"split 'train', example {i}: {e}") from e

    identity = [*identity, chosen.name, dict(chosen.keys), encoding.reads]
    return trained(chosen.build, texts, identity)


@dataclass(frozen=True)
class _Read:
    """A split after the host pipeline, texts and all."""

    split: Split
    decode: str

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int, /) -> Element:
        return self._pipeline(self.split[index])

    @cached_property
    def _pipeline(self) -> host.ElementTransform:
        return host.pipeline(self.decode)

    def origin(self, index: int) -> str:
        return origin(self.split, index)


def _say_what_was_cut(name: str, columns: Columns) -> None:
    if "cut" not in columns.columns:
        return
    cut = int(np.asarray(columns.columns["cut"]).sum())
    if cut:
        print(
            f"split {name!r}: {cut:,} of {len(columns):,} texts have more tokens than data.encode "
            "keeps and are cut",
            file=sys.stderr,
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
