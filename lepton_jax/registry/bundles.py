"""Opens a bundle, which lies in a folder or in the registry."""

import os

from lepton_jax.errors import UserError
from lepton_jax.registry.store import Registry
from lepton_jax.serving import loader


def open_bundle(bundle: str | None, model: str | None) -> tuple[loader.Bundle, str]:
    """Loads a bundle from the folder `bundle`, or else the registered `model`.

    Args:
      bundle: the bundle's folder, or None.
      model: 'NAME@ALIAS', 'NAME/VERSION' or 'NAME' in the registry; its digest is checked.

    Returns:
      The bundle, and where it comes from in words.

    Raises:
      UserError: when there is no such folder or version.
      BundleError: when the bundle is damaged.
    """
    if bundle is not None:
        if not os.path.isdir(bundle):
            raise UserError(f"--bundle={bundle}: there is no such folder")
        return loader.load_bundle(bundle), bundle
    assert model is not None
    registry = Registry()
    version = registry.resolve(model)
    return loader.load_bundle(
        registry.fetch(version), version.id
    ), f"{version.name} from the registry"
