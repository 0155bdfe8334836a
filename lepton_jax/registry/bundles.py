"""Opens a bundle, which lies in a folder or in the registry."""

from lepton_jax.registry import gates
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
        return loader.load_bundle(gates.bundle_folder(bundle)), bundle
    assert model is not None
    registry = Registry()
    version = registry.resolve(model)
    opened = loader.load_bundle(registry.fetch(version), version.id)
    return opened, f"{version.name} from the registry"
