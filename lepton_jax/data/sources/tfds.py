"""Anything that TensorFlow Datasets has prepared as ArrayRecord, read without TensorFlow."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lepton_jax.config.schema import Later, PathText, Running
from lepton_jax.data.account import Account
from lepton_jax.data.naming import name_splits, split_name
from lepton_jax.data.source import Source, Split
from lepton_jax.data.sources.tfds_prepared import find_prepared, whole_set
from lepton_jax.data.spec import LeftOut
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.transforms.host import Element
from lepton_jax.trees import flatten_dict


def tfds(
    *,
    dataset: str,
    label: Later[str] = "label",
    splits: Later[tuple[str, ...]] = (),
    data_dir: Running[PathText | None] = None,
    download: Running[bool] = False,
) -> Source:
    """Opens a prepared data set, e.g. `dataset='cifar10'`, `'glue/sst2'` or `'mnist:3.0.1'`.

    Fields keep their TFDS names, and the names of nested ones are joined by '/'. The classes are
    those of the ClassLabel called 'label', or of the only ClassLabel.

    Keys:
      dataset: the name of the set as TFDS has it, with a configuration or a version where that is
        wanted.
      label: the field that becomes 'label', where it is called otherwise: 'label-coarse'.
      splits: our splits, each with what it is in TFDS's words: `('train=train',
        'valid=validation+test', 'test=test[:50%]')`; (): all that TFDS has.
      data_dir: the folder of prepared sets; None: $TFDS_DATA_DIR, or TFDS's own,
        ~/tensorflow_datasets.
      download: whether TFDS downloads a set that is not there; TensorFlow must be installed.

    Raises:
      UserError: when the set is not there, saying where it was looked for and how to get it.
      WorkError: when its download fails, as without a network.
    """
    with _quiet():
        import tensorflow_datasets

        default = tensorflow_datasets.core.constants.DATA_DIR
        root = os.path.expanduser(data_dir or str(default))
        folder = find_prepared(root, dataset, download)
        account = Account()
        with whole_set(folder):
            builder = tensorflow_datasets.builder_from_directory(folder)
            sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
            names = _split_names(dataset, splits, sizes, account)
            classes = _classes(dataset, builder.info.features, label)
            opened: dict[str, Split] = {
                ours: _PreparedSplit(folder, theirs, label, _data_source(builder, theirs))
                for ours, theirs in names.items()
            }
            # The decoder's advice about itself comes with the first example.
            examples = [split[0] for split in opened.values()]
    fingerprint = _fingerprint(folder)
    if label != "label" or splits:
        fingerprint = hashlib.sha256(f"{fingerprint} {label} {splits}".encode()).hexdigest()
    return Source(
        splits=opened,
        classes=classes,
        fingerprint=fingerprint,
        description=f"{builder.info.full_name} of TensorFlow Datasets",
        licence=builder.info.redistribution_info.license,
        column_keys=("label",),
        columns=tuple(examples[0]),
        left_out={
            name: LeftOut("texts")
            for name, value in examples[0].items()
            if isinstance(value, bytes | str)
        },
        account=account,
    )


@dataclass(frozen=True)
class _PreparedSplit:
    """One split of a prepared set. Pickled, it is the folder and the split's name."""

    folder: str
    name: str
    label: str
    source: Any

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Element:
        example = flatten_dict(self.source[index], "/")
        if self.label != "label":
            example["label"] = example.pop(self.label)
        return example

    def __reduce__(self) -> tuple:
        return _open_split, (self.folder, self.name, self.label)


def _open_split(folder: str, name: str, label: str) -> _PreparedSplit:
    with _quiet():
        import tensorflow_datasets

        builder = tensorflow_datasets.builder_from_directory(folder)
        return _PreparedSplit(folder, name, label, _data_source(builder, name))


def _data_source(builder: Any, name: str) -> Any:
    try:
        return builder.as_data_source(split=name)
    except ValueError as e:
        raise UserError(f"tfds: split {name!r}: {str(e).splitlines()[0]}") from None


def _split_names(
    dataset: str, splits: tuple[str, ...], there: Mapping[str, int], account: Account
) -> dict[str, str]:
    """Returns what each of our splits is in TFDS's words. `there` are the sizes of TFDS's."""
    if not splits:
        for name, size in there.items():
            if size == 0 and split_name(name) != "train":
                account.note("left out", "splits without rows", repr(name))
        full = {name: name for name, size in there.items() if size or name == "train"}
        ours_of = name_splits(full, f"tfds: {dataset!r} (data.source.splits chooses)")
        return {ours: theirs for theirs, ours in ours_of.items()}
    names = {}
    for text in splits:
        ours, equals, theirs = text.partition("=")
        mentioned = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]", "", theirs))
        if not (ours and equals and mentioned):
            raise UserError(f"tfds: splits: expected e.g. 'valid=validation+test', got {text!r}")
        for name in mentioned:
            if name not in there:
                raise UserError(
                    f"tfds: {dataset!r} has no split {name!r}{did_you_mean(name, there)}; there "
                    f"are: {', '.join(there)}"
                )
        if split_name(ours) in names:
            raise UserError(f"tfds: splits: {split_name(ours)!r} stands there twice: {splits}")
        names[split_name(ours)] = theirs
    return names


def _classes(dataset: str, features: Any, label: str) -> tuple[str, ...]:
    names = dict(_class_labels(features))
    if label != "label" and label not in names:
        raise UserError(
            f"tfds: {dataset!r} has no field of labels {label!r}{did_you_mean(label, names)}; "
            f"there are: {', '.join(names)}"
        )
    return names.get(label) or (next(iter(names.values())) if len(names) == 1 else ())


def _class_labels(features: Any, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields each ClassLabel's path and the names of its classes, also of nested features and of
    lists of them.
    """
    for name, feature in features.items():
        inner = getattr(feature, "feature", feature)
        if getattr(inner, "names", None):
            yield prefix + name, tuple(inner.names)
        elif hasattr(inner, "items"):
            yield from _class_labels(inner, f"{prefix}{name}/")


def _fingerprint(folder: str) -> str:
    """Digests what TFDS wrote about the set and the size of each file: versions are immutable."""
    from etils import epath

    digest = hashlib.sha256()
    for file in sorted(epath.Path(folder).iterdir(), key=lambda f: f.name):
        digest.update(f"{file.name} {file.stat().length}\n".encode())
        if file.suffix == ".json":
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back TFDS's log lines about folders that it tried and packages it would prefer."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
