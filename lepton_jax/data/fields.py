"""The fields that all splits of a data set have in common, and what is left out for them."""

from collections.abc import Collection, Mapping

import numpy as np

from lepton_jax.data.account import Account
from lepton_jax.data.labels import hides_labels
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.spec import RESERVED, SHOWN, FieldSpec
from lepton_jax.data.text.encodings import FIELDS
from lepton_jax.errors import UserError, describe_value


def leave_out_unlabelled(splits: Mapping[str, Columns], account: Account) -> dict[str, Columns]:
    """Returns the splits without those whose labels 'train' has and they have not, or withhold.
    Their examples are noted.
    """
    kept = {}
    for name, columns in splits.items():
        train = splits.get("train", columns).columns
        if name != "train" and (
            hides_labels(columns) or train.keys() - columns.columns.keys() == {"label"}
        ):
            account.note("left out", f"examples of {name!r}, which has no labels", "", len(columns))
        else:
            kept[name] = columns
    return kept


def note_left_out(source: Source, read: Collection[str], account: Account) -> None:
    """Notes the columns that are no fields and that no encoding reads, by what they hold. A host
    transform of the user's own may read any of them: with one this is not called.
    """
    by_kind: dict[str, list[str]] = {}
    for name, (kind, where) in source.left_out.items():
        if name not in read:
            by_kind.setdefault(kind, []).append(f"{name}: {where}" if where else name)
    for kind, names in by_kind.items():
        account.note("left out", f"columns of {kind}", ", ".join(names[:SHOWN]), len(names))


def note_replaced(columns: Collection[str], read: Collection[str], account: Account) -> None:
    """Notes the columns in whose place an encoding, which does not read them, makes its fields."""
    replaced = FIELDS & {*columns} - {*read}
    if replaced:
        what = "columns called as fields that data.encode makes"
        account.note("noticed", what, ", ".join(sorted(replaced)), len(replaced))


def note_cut_texts(splits: Mapping[str, Columns], account: Account) -> None:
    """Notes how many texts of each split were cut to fit."""
    for name, columns in splits.items():
        cut = columns.columns.get("cut")
        count = 0 if cut is None else int(np.asarray(cut).sum())
        if count:
            what = f"texts of {name!r} cut to the tokens that data.encode keeps"
            account.note("converted", what, count=count)


def common_fields(splits: Mapping[str, Columns]) -> dict[str, FieldSpec]:
    """Returns the fields of an example, which all splits have in common.

    Raises:
      UserError: when the splits differ in them, or a field has a name that batches use themselves.
    """
    specs = {
        split: {k: FieldSpec(c.shape[1:], c.dtype.name) for k, c in columns.columns.items()}
        for split, columns in splits.items()
    }
    first = "train" if "train" in specs else next(iter(specs))
    for split, fields in specs.items():
        if fields != specs[first]:
            cure = ""
            if fields.get("image") != specs[first].get("image"):
                cure = (
                    "; data.decode makes the images of every split, and data.train_decode those of "
                    "'train' in its place: both must make one shape"
                )
            raise UserError(
                f"split {split!r} and split {first!r} differ in their fields: "
                f"{describe_value(fields)} against {describe_value(specs[first])}{cure}"
            )
    for name in RESERVED:
        if name in specs[first]:
            raise UserError(
                f"a field of the data is called {name!r}, a name that batches need themselves; "
                "rename the field"
            )
    return specs[first]
