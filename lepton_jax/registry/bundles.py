"""Opens a bundle, which is a folder or an archive, or lies in the registry."""

import re
from pathlib import Path

from lepton_jax.archive import bundle_folder
from lepton_jax.errors import UserError, WorkError, list_names
from lepton_jax.isolation.promise import tell_end
from lepton_jax.isolation.tried import try_program
from lepton_jax.registry import verified
from lepton_jax.registry.glance import glance_at_version
from lepton_jax.registry.store import Registry
from lepton_jax.registry.version import Version
from lepton_jax.serving import loader
from lepton_jax.serving.live.models import FoundVersion, ModelSource
from lepton_jax.serving.live.sources import folder_source, split_bundle


def open_bundle(
    bundle: str | None, model: str | None, program: str = "stablehlo"
) -> tuple[loader.Bundle, str]:
    """Loads the bundle in the folder or archive `bundle`, or else the registered `model`.

    A signature is checked first: one that is wrong, or of a key that was revoked, is refused. A
    program that was never used here is first tried in a process of its own.

    Args:
      bundle: the bundle's folder or archive, or None.
      model: 'NAME@ALIAS' or 'NAME/VERSION' in the registry, or 'NAME' where that has one version;
        its digest is checked.
      program: which of its programs answers; '' as `loader.find_default_program` says.

    Returns:
      The bundle, and where it comes from in words.

    Raises:
      UserError: when there is no such folder, archive or version, or 'NAME' has several.
      WorkError: when the signature or the archive is refused.
      BundleError: when the bundle is damaged.
    """
    folder, source, identity = _locate(bundle, model)
    return _load(folder, source, identity, program), source


def _locate(bundle: str | None, model: str | None) -> tuple[Path, str, str | None]:
    """Returns a bundle's folder, where it comes from in words, and its id where that is known."""
    if bundle is not None:
        return bundle_folder(bundle), bundle, None
    assert model is not None
    registry = Registry()
    version = _find_version(registry, model)
    return registry.fetch(version), f"{version.name} from the registry", version.id


def _find_version(registry: Registry, model: str) -> Version:
    """Finds a version as `Registry.resolve` does, but refuses a name alone where it has several:
    the newest one may be the one that was taken back.
    """
    if "@" in model or "/" in model:
        return glance_at_version(model) or registry.resolve(model)
    versions = registry.versions(model)
    if len(versions) < 2:
        return versions[0] if versions else registry.resolve(model)  # which says that it has none
    newest = versions[-1]
    held = [f"{model}@{alias} (version {v.version})" for v in versions for alias in v.aliases]
    choices = [*sorted(held), f"{newest.name} (the newest)"]
    raise UserError(
        f"--model={model}: say which version; there are: {list_names(choices)}",
        instead=(f"--model={model}", f"--model={choices[0].split()[0]}"),
    )


def live_source(model: str, program: str = "") -> ModelSource:
    """Returns the source of a registered model for a server, which asks it again and again: an
    alias may move. What is loaded is checked as `open_bundle` checks it.

    Args:
      model: as of `open_bundle`.
    """
    registry = Registry()

    def find() -> FoundVersion:
        version = _find_version(registry, model)

        def open_it() -> loader.Bundle:
            folder = registry.fetch(version)
            return _load(folder, f"{version.name} from the registry", version.id, program)

        return FoundVersion(str(version.version), version.id, open_it)

    return ModelSource(re.split("[@/]", model)[0], find, moves="/" not in model)


def bundle_source(bundle: str, program: str = "") -> ModelSource:
    """Returns the source of a bundle for a server. Raises and checks as `open_bundle`.

    Args:
      bundle: a folder or an archive; with the model's name before, `NAME=DIR`.
    """
    name, path = split_bundle(bundle)
    return folder_source(
        bundle_folder(path), name, program, lambda folder, to: _load(folder, path, None, to)
    )


def read_bundle(bundle: str | None, model: str | None = None) -> loader.Bundle:
    """Loads a bundle as `open_bundle` does, for what it holds: its program is not tried, as it may
    be too old for this jax.
    """
    return _read(*_locate(bundle, model))


def _load(folder: Path, source: str, expected_id: str | None, program: str) -> loader.Bundle:
    loaded = _read(folder, source, expected_id, program)
    if loaded.program == "stablehlo":
        tell_end(loaded)
    try_program(folder, loaded.id, loaded.program)
    return loaded


def _read(
    folder: Path, source: str, expected_id: str | None = None, program: str = "stablehlo"
) -> loader.Bundle:
    if refusal := verified.check_signed(folder, demanded=False):
        raise WorkError(f"{source} is not used: {refusal}")
    return loader.load_bundle(folder, expected_id, program or loader.find_default_program(folder))
