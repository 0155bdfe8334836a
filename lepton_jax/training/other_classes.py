"""Whether the weights that `init_from` names were trained on other classes, as many as the data's:
a last layer of the same shape is then taken over.
"""

import dataclasses
import os
import re
import shlex
from collections.abc import Iterator

from etils import epath

from lepton_jax.errors import list_names
from lepton_jax.io import files
from lepton_jax.training.parts import Parts
from lepton_jax.training.program import Program
from lepton_jax.trees import flatten_tree

SHOWN = 5
"""Names of classes that the warning lists."""


def warn_of_other_classes(program: Program) -> Iterator[str]:
    """Yields a sentence where weights of other classes would be taken over: it names both sets of
    classes, the parameters, and the key that draws these anew.
    """
    path = program.config.init_from
    there = read_classes(os.path.expanduser(path)) if path else ()
    if not there or there == (here := program.spec.classes) or len(there) != len(here):
        return
    layers = sorted({name.rpartition(".")[0] or name for name in _taken_over(program)})
    if layers:
        inner = "|".join(map(re.escape, layers))
        pattern = f"^({inner})" if len(layers) > 1 else f"^{inner}"
        yield (
            f"init_from = {path!r}: its classes are {list_names(there, SHOWN)}, and "
            f"those of the data {list_names(here, SHOWN)}. There are as many, so the last layer, "
            f"{list_names(layers)}, is taken over; this draws it anew: "
            f"--config.init_fresh={shlex.quote(pattern)}"
        )


def read_classes(path: str) -> tuple[str, ...]:
    """Reads the names of the classes from a workdir, a checkpoint, a bundle or a folder of Hugging
    Face; () where nothing says them.
    """
    folder = epath.Path(path)
    if folder.parent.name == "checkpoints":
        folder = folder.parent.parent
    places = (("signature.json", "labels"), ("provenance.json", "classes"))
    for file, key in (*places, ("config.json", "id2label")):
        found = files.read_object(folder / file).get(key) if (folder / file).exists() else None
        if found:
            names = tuple(map(str, found.values() if isinstance(found, dict) else found))
            unnamed = all(name.startswith("LABEL_") for name in names)  # what transformers fills in
            return () if unnamed else names
    return ()


def _taken_over(program: Program) -> list[str]:
    """Lists the parameters whose shape depends on the number of classes, and that `init_fresh` does
    not draw anew: the same parts are built for one class more, without any numbers.
    """
    spec, config = program.spec, program.config
    more = dataclasses.replace(spec, classes=(*spec.classes, "one more"))
    try:
        wider = flatten_tree(Parts(config, more).functional.params)
    except Exception:  # noqa: BLE001  a user's model may be made for this number of classes alone
        return []
    return [
        name
        for name, leaf in flatten_tree(program.parts.functional.params).items()
        if name in wider and wider[name].shape != leaf.shape
        if not (config.init_fresh and re.search(config.init_fresh, name))
    ]
