"""The config of a model that shall take the place of the one in production."""

import copy
from collections.abc import Mapping
from typing import Any

from lepton_jax.config.config import Config, find_user_modules
from lepton_jax.config.config_file import resolve_config
from lepton_jax.errors import UserError, list_names

NEW = "new"
"""The evaluation on the new data that was held out: `new/accuracy` in a record and in gates."""


def build_retraining(
    recipe: Mapping[str, Any],
    champion: str,
    requests: str,
    augment: str = "",
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Builds a config that starts from a bundle's weights and learns from its data and new ones.

    Args:
      recipe: the config that the bundle was trained by, as its lineage holds it.
      champion: the bundle's folder.
      requests: the folder with labelled requests.
      augment: device transforms that are added to those of the recipe; '' for none.
      overrides: other keys, by path.

    Raises:
      UserError: when the recipe cannot be trained here, or by requests.
    """
    tree = copy.deepcopy(dict(recipe))
    data = dict(tree["data"])
    if data.get("encode"):
        raise UserError(
            "improve: the model reads texts, and kept requests hold their tokens alone; train it "
            "on the texts themselves, with --config.init_from=BUNDLE"
        )
    # Only its own part of the data is one source of several: what came later is beside it.
    source = dict(data["source"])
    before = source["sources"] if source["name"] == "mixed" else _write_source(source)
    new = {"name": "requests", "path": requests}
    data["source"] = {"name": "mixed", "sources": f"{before}|{_write_source(new)}"}
    data["augment"] = "|".join(filter(None, [data.get("augment") or "", augment]))
    tree |= {"data": data, "init_from": champion, "init_fresh": ""}
    tree["evals"] = {**(tree.get("evals") or {}), NEW: {"split": "test", "source": new}}
    return resolve_config(tree, overrides)[0]


def check_recipe(recipe: Mapping[str, Any], name: str) -> None:
    """Checks that a bundle's recipe can be trained here.

    Raises:
      UserError: when it names a local path, which no bundle carries, or code of a user's own, which
        is not run because a bundle names it.
    """
    cure = "give the config of its run, --config=RUN/config.json"
    if "<path>" in str(recipe["data"]) or "<url>" in str(recipe["data"]):
        raise UserError(f"improve: {name} carries no path of the data it was trained on; {cure}")
    if modules := find_user_modules(dict(recipe)):
        raise UserError(f"improve: {name} was trained by code of {list_names(modules)}; {cure}")


def _write_source(section: Mapping[str, Any]) -> str:
    """Writes a source's section as one of a pipeline: `npz(path='a.npz')`."""
    keys = ", ".join(f"{k}={v!r}" for k, v in section.items() if k != "name")
    return f"{section['name']}({keys})"
