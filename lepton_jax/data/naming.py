"""The rules of names, one for all sources: which split a name means, and which files are hidden."""

from collections.abc import Mapping

from lepton_jax.errors import UserError

SPLITS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}
"""The names that mean a split of ours, in any case of letters."""

_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}

# What other programs leave beside the data, in any case of letters.
_LITTER = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "lost+found"})


def split_name(name: str) -> str:
    """Returns a split's name in our words: 'Validation', 'val' and 'dev' are 'valid'. A name that
    means none of our splits stays as it is.
    """
    return _SPLIT_OF.get(name.casefold(), name)


def is_split_name(name: str) -> bool:
    """Returns whether a name means one of 'train', 'valid' and 'test'."""
    return name.casefold() in _SPLIT_OF


def name_splits(names: Mapping[str, str], where: str) -> dict[str, str]:
    """Returns the split that each name means, by what is called so.

    Args:
      names: the name of a split by the folder, the file or the kind of array that has it:
        `{"train.csv": "train", "dev.csv": "dev"}`.
      where: the folder or the file of all of them, for the message.

    Raises:
      UserError: when two of them mean one split, naming both.
    """
    splits: dict[str, str] = {}
    first: dict[str, str] = {}
    for thing, name in names.items():
        split = split_name(name)
        if split in first:
            raise UserError(
                f"{where}: {first[split]!r} and {thing!r} both mean the split {split!r}; "
                "join them, or move one of them elsewhere"
            )
        splits[thing], first[split] = split, thing
    return splits


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder of this name is passed over by every source: it begins with
    a dot (as '._cat.png' of macOS does), or is what another program leaves beside data.
    """
    return name.startswith(".") or is_litter(name)


def is_litter(name: str) -> bool:
    """Returns whether another program leaves a file or folder of this name beside data."""
    return name.casefold() in _LITTER
