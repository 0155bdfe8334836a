"""Several sources as one: what a model was trained on, and what came later."""

import hashlib
from dataclasses import replace
from typing import Annotated

from lepton_jax.config.pipeline import Pipeline
from lepton_jax.data.account import Account
from lepton_jax.data.joined import join_splits
from lepton_jax.data.source import Source, check_source, source_with_our_names
from lepton_jax.errors import UserError, list_names


def mixed(*, sources: Annotated[Pipeline, "source"]) -> Source:
    """Joins sources of the same classes, such as `"digits|requests(path='kept')"`.

    'train' is that of all of them, and so is what the others have as 'valid'. The other splits are
    those of the first source alone: a new model is measured on what the old one was measured on.
    What the others have as 'test' is left out; an entry of `evals` can measure it.

    Keys:
      sources: the sources, written as transforms are: `NAME(key=value)|NAME`.

    Raises:
      UserError: when there are fewer than two, or their classes differ.
    """
    read = []
    for component in sources:
        source = component.build()
        check_source(component.name, source)
        read.append(source_with_our_names(source))
    if len(read) < 2:
        raise UserError(
            f"data.source.sources = {str(sources)!r}: expected two sources or more, as in "
            "\"digits|requests(path='kept')\""
        )
    first, *others = read
    for other in others:
        if other.classes != first.classes:
            raise UserError(
                f"the classes of {other.description} are {list_names(other.classes)}; expected "
                f"those of {first.description}: {list_names(first.classes)}"
            )
    account = Account()
    account.add(first.account)
    train = [first.splits["train"]] if "train" in first.splits else []
    for other in others:
        account.add(other.account)
        train += [split for name, split in other.splits.items() if name in ("train", "valid")]
    identity = repr([source.fingerprint for source in read])
    return replace(
        first,
        splits={**first.splits, "train": join_splits(train)},
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        description=" and ".join(source.description for source in read),
        account=account,
        reading=repr([source.reading for source in read]),
    )
