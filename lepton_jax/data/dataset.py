"""A data set ready for training: every split as columns, 'valid' carved if need be.

`load_dataset` has four stages: carve 'valid', encode texts, decode to columns, check.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.boxes.check import check_boxes
from lepton_jax.config.pipeline import NO_TRANSFORMS, Pipeline
from lepton_jax.data.account import Account
from lepton_jax.data.cache import CachedColumns, cached_columns
from lepton_jax.data.decoder import describe_example
from lepton_jax.data.fields import (
    common_fields,
    leave_out_unlabelled,
    note_cut_texts,
    note_left_out,
    note_replaced,
)
from lepton_jax.data.folds import Fold, hold_out_fold
from lepton_jax.data.fresh import DecodedEachEpoch
from lepton_jax.data.labels import check_labels
from lepton_jax.data.naming import SPLITS
from lepton_jax.data.source import (
    Columns,
    MappedSplit,
    Source,
    Split,
    select_examples,
    source_with_our_names,
    source_with_texts,
)
from lepton_jax.data.spec import DataSpec
from lepton_jax.data.text.encodings import CarvesTexts, EncodesTraining, Encoding
from lepton_jax.data.text.tokenizer import Tokenizer, train_tokenizer_once
from lepton_jax.errors import UserError, list_names
from lepton_jax.transforms import host

if TYPE_CHECKING:
    from lepton_jax.config.components import Component

# The epochs of an order are counted upwards from 0 in the same word of the key: see order.py.
_CARVE = 2**64 - 1


@dataclass(frozen=True)
class TokenizedTexts:
    """How the texts of a data set became tokens, and the splits that hold the texts themselves."""

    tokenizer: Tokenizer
    encoding: Encoding
    raw: Mapping[str, Split]

    @property
    def served(self) -> dict[str, Any]:
        """How a bundle makes its inputs of a text: the part `text` of signature.json."""
        vocabulary = self.tokenizer.vocabulary
        return {
            **self.encoding.served(self.tokenizer),
            "pad": vocabulary.pad,
            "unknown": vocabulary.unknown,
            "begin": vocabulary.begin,
            "end": vocabulary.end,
        }

    def example(self, split: str, columns: Columns, i: int) -> dict[str, Any]:
        """Returns `{'texts': [...], 'tokens': [...]}` of example i of a split: the texts that a
        bundle is given, and the tokens that it must make of them.

        `columns` are the encoded split. Of a stream the text is the first half of a chunk.
        """
        served = self.encoding.served(self.tokenizer)
        row, inputs = columns[i], served["inputs"]
        tokens = row[inputs["tokens"]][: row[inputs["length"]]].tolist()
        if served.get("goes_on"):
            text = self.tokenizer.decode(tokens[: len(tokens) // 2])
            return {"texts": [text], "tokens": self.tokenizer.encode_prompt(text)}
        texts = self.encoding.texts(self.raw[split][i])
        return {"texts": texts[: 1 + served["pair"]], "tokens": tokens}


@dataclass(frozen=True)
class Dataset:
    """Decoded splits. `fingerprint` names the source, the decoding and the carving together;
    `account` is of what was not read as it stands.
    """

    splits: dict[str, Columns]
    spec: DataSpec
    fingerprint: str
    texts: TokenizedTexts | None = None
    places: Mapping[str, Split] = field(default_factory=dict)
    """By a split's name the examples as their source has them, which tell their files; only of
    splits with the same examples."""
    description: str = "the data"
    licence: str = ""
    look_only: bool = False
    """As `load_dataset` has it."""
    account: Account = field(default_factory=Account, compare=False)

    def summary(self) -> str:
        """Returns a line about the data: `images of pets: train 900, valid 100 examples of 2
        classes; left out: 3 dangling links (cat/3.png)`.
        """
        named = [name for name in SPLITS if name in self.splits]
        named += [name for name in self.splits if name not in SPLITS]
        sizes = ", ".join(f"{name} {len(self.splits[name]):,}" for name in named)
        classes = f" of {len(self.spec.classes):,} classes" if self.spec.classes else ""
        account = f"; {self.account}" if str(self.account) else ""
        return f"{self.description}: {sizes} examples{classes}{account}"

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self.texts.tokenizer if self.texts else None

    def encode_prompt(self, text: str) -> list[int]:
        """Returns the tokens of a text to be continued, one at least.

        Without a tokenizer the tokens are words. A text without a token is the begin of a text,
        or the end of the text before it.

        Raises:
          UserError: for a word that is no token, and when there is no token at all.
        """
        vocabulary = self.spec.vocabulary
        assert vocabulary is not None
        if self.tokenizer is not None:
            tokens = self.tokenizer.encode_prompt(text)
        else:
            tokens = vocabulary.encode_words(text)
        if tokens:
            return tokens
        start = vocabulary.end if vocabulary.begin is None else vocabulary.begin
        if start is None:
            raise UserError(f"prompt {text!r} has no token: expected at least one")
        return [start]

    def decode_tokens(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, as `DataSpec.decode_tokens` does."""
        return self.spec.decode_tokens(tokens)


def load_dataset(
    source: Source,
    *,
    decode: Pipeline,
    valid_fraction: float,
    split_seed: int,
    train_decode: Pipeline = NO_TRANSFORMS,
    tokenizer: "Component | str | None" = None,
    encode: "Component | None" = None,
    look_only: bool = False,
    fold: Fold | None = None,
) -> Dataset:
    """Decodes a source, or finds it decoded in the cache.

    Main arguments:
      source: where the examples come from.
      decode: host transforms, e.g. those of `'resize(32)|rgb'`; see `transforms/host.py`.
    Other arguments:
      valid_fraction: share of 'train' that becomes 'valid', if the source has no 'valid'.
      split_seed: of the hash that chooses it.
      train_decode: replaces `decode` for 'train', which is then decoded anew in every epoch.
      tokenizer: what makes tokens of texts, and is trained on 'train' alone; or the text of a
        `tokenizer.json`, which is used as it is.
      encode: how examples with texts, after `decode`, become fields of tokens.
      look_only: decodes a few examples alone of splits that are not in the cache and hold no
        texts: enough to know what the data is.
      fold: the examples that are held out as 'test', in a cross-validation.

    A split whose labels are withheld is left out.

    Raises:
      UserError: when examples cannot be decoded, differ in shape after it, have a label that
        names no class or an impossible box, or a split is empty.
    """
    if not source.splits:
        raise UserError(f"{source.description}: has no splits")
    source = source_with_our_names(source)
    encoding: Encoding | None = encode.build() if encode is not None else None
    if encoding is not None:
        source = source_with_texts(source, encoding.reads)
    if fold is not None:
        if isinstance(encoding, CarvesTexts):
            raise UserError("data.folds: examples that follow on each other cannot be divided")
        source = hold_out_fold(source, fold)
    parts, carving = _carve_valid(source, encoding, valid_fraction, split_seed)
    texts: TokenizedTexts | None = None
    text_identity: list[Any] = []
    if encode is not None and encoding is not None and tokenizer is not None:
        texts = _tokenize(parts, decode, tokenizer, encoding, source.description)
        text_identity = [texts.tokenizer.digest, encode.name, dict(sorted(encode.keys.items()))]
        parts = _encode_texts(parts, texts, [decode.text, text_identity])
    account = Account()
    account.add(source.account)
    splits = _decode_splits(
        parts,
        source,
        encoding,
        decode=NO_TRANSFORMS if texts else decode,
        train_decode=train_decode,
        look_only=look_only and texts is None,
    )
    splits = leave_out_unlabelled(splits, account)
    _check_splits(splits, parts, source.classes)
    if not any(":" in transform.name for transform in (*decode, *train_decode)):
        note_left_out(source, encoding.reads if encoding else (), account)
    if encoding is not None:
        note_replaced(source.columns, encoding.reads, account)
    for columns in splits.values():
        if isinstance(columns, CachedColumns):
            account.add(columns.account)
    note_cut_texts(splits, account)
    identity = json.dumps(
        [
            *(source.fingerprint, decode.text, carving),
            *([train_decode.text] if train_decode else []),
            *text_identity,
        ]
    )
    vocabulary = texts.tokenizer.vocabulary if texts else source.vocabulary
    decode_text = texts.tokenizer.decode if texts else None
    return Dataset(
        splits=splits,
        spec=DataSpec(
            common_fields(splits),
            source.classes,
            vocabulary,
            decode_text,
            source.description,
            source.column_keys,
            source.columns,
            source.left_out,
        ),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        texts=texts,
        places={}
        if texts
        else {k: parts[k].split for k in splits if len(parts[k].split) == len(splits[k])},
        description=source.description,
        licence=source.licence,
        look_only=look_only,
        account=account,
    )


@dataclass(frozen=True)
class _Part:
    """A split on its way to columns, and the fingerprint of its contents."""

    split: Split
    fingerprint: str


# 1. Carve 'valid'.


def _carve_valid(
    source: Source, encoding: Encoding | None, fraction: float, seed: int
) -> tuple[dict[str, _Part], str | None]:
    """Returns the source's splits, and how 'valid' was carved from 'train'; None if it was not."""
    contents = f"{source.fingerprint}{source.reading}"
    parts = {name: _Part(split, contents) for name, split in source.splits.items()}
    if fraction == 0 or "train" not in parts or "valid" in parts:
        return parts, None
    train = source.splits["train"]
    if isinstance(encoding, CarvesTexts):
        carving = f"last {fraction!r}"
        sides = encoding.carved(train, fraction)
    else:
        carving = f"valid_fraction {fraction!r} split_seed {seed}"
        into_train, into_valid = carve_indices(len(train), fraction, seed)
        sides = (select_examples(train, into_train), select_examples(train, into_valid))
    for name, side in zip(("train", "valid"), sides, strict=True):
        if len(side) == 0:
            raise UserError(
                f"data.valid_fraction = {fraction} of {len(train)} training examples "
                f"leaves {name!r} empty; choose another (0: no 'valid'), or another data.split_seed"
            )
        parts[name] = _Part(side, f"{contents} {carving}")
    return parts, carving


def carve_indices(examples: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides examples into (train, valid): their indices int64, each in ascending order.

    An example is in 'valid' when the hash of (seed, its index) is below `fraction`. Its side
    therefore does not depend on the other examples, and stays when more are added at the end.
    Philox counts its draws, so that the i-th of them is such a hash.
    """
    key = np.array([seed, _CARVE], np.uint64)
    hashed = np.random.Philox(key=key).random_raw(examples)
    is_valid = (hashed >> np.uint64(11)) * 2.0**-53 < fraction
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)


# 2. Encode texts.


def _tokenize(
    parts: Mapping[str, _Part],
    decode: Pipeline,
    tokenizer: "Component | str",
    encoding: Encoding,
    description: str,
) -> TokenizedTexts:
    """Gets the tokenizer: `tokenizer` itself where it is a text, or one trained on 'train'."""
    pipeline = host.build_pipeline(decode)
    raw = {name: MappedSplit(part.split, pipeline) for name, part in parts.items()}
    if isinstance(tokenizer, str):
        return TokenizedTexts(Tokenizer(tokenizer), encoding, raw)
    if tokenizer.name == "pretrained":
        text = tokenizer.build(iter(()))
        name = f"data.tokenizer.path = {tokenizer.keys['path']!r}"
        return TokenizedTexts(Tokenizer(text, name), encoding, raw)
    if "train" not in raw:
        raise UserError(
            f"{description} has no split 'train' to train data.tokenizer on, only {list_names(raw)}"
        )

    def texts() -> Iterator[str]:
        for i in range(len(raw["train"])):
            try:
                yield from encoding.texts(raw["train"][i])
            except (UserError, OSError) as e:
                raise UserError(f"{describe_example(raw['train'], 'train', i, e)}: {e}") from e

    data_identity = [parts["train"].fingerprint, decode.text]
    identity = [*data_identity, tokenizer.name, dict(tokenizer.keys), encoding.reads]
    return TokenizedTexts(train_tokenizer_once(tokenizer.build, texts, identity), encoding, raw)


def _encode_texts(
    parts: Mapping[str, _Part], texts: TokenizedTexts, identity: list[Any]
) -> dict[str, _Part]:
    """Returns the splits with fields of tokens. `identity` says what was done to the texts."""
    return {
        name: _Part(
            texts.encoding.encoded(texts.raw[name], texts.tokenizer),
            json.dumps([part.fingerprint, *identity]),
        )
        for name, part in parts.items()
    }


# 3. Decode to columns.


def _decode_splits(
    parts: Mapping[str, _Part],
    source: Source,
    encoding: Encoding | None,
    *,
    decode: Pipeline,
    train_decode: Pipeline,
    look_only: bool,
) -> dict[str, Columns]:
    """Returns the splits as columns."""
    splits: dict[str, Columns] = {}
    for name, part in parts.items():
        if train_decode and name == "train":
            if len(part.split) == 0:
                raise UserError(f"{source.description}: split 'train' has no examples")
            splits[name] = DecodedEachEpoch(
                part.split, name, source.classes, decode=decode, train_decode=train_decode
            )
            continue
        columns = cached_columns(
            part.split,
            name=name,
            fingerprint=part.fingerprint,
            decode=decode,
            look_only=look_only,
            source=source.description,
        )
        if name == "train" and isinstance(encoding, EncodesTraining):
            columns = encoding.trained_on(columns)
        splits[name] = columns
    return splits


# 4. Check.


def _check_splits(
    splits: Mapping[str, Columns], parts: Mapping[str, _Part], classes: tuple[str, ...]
) -> None:
    check_labels(splits, {name: part.split for name, part in parts.items()}, classes)
    for name, columns in splits.items():
        check_boxes(columns.columns, name, classes)
