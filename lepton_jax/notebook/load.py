"""Opens what a path or a name stands for: a run, one of its checkpoints, a bundle, a version."""

import os

from lepton_jax.errors import UserError, WorkError
from lepton_jax.notebook.opened_bundle import OpenedBundle
from lepton_jax.notebook.run import Run, open_run


def load(path: str | os.PathLike[str], *, step: int | str = "best") -> Run | OpenedBundle:
    """Opens a run, a checkpoint of it, a bundle or a registered model.

    Args:
      path: a workdir, `WORKDIR/checkpoints/STEP`, the folder of a bundle, or a model of the
        registry as 'NAME@ALIAS' or 'NAME/VERSION'.
      step: the checkpoint of a run: 'best', 'last' or a step.

    Returns:
      A `Run` with its config, metrics, module and answers; or an `OpenedBundle`.

    Raises:
      UserError: when there is no such thing, naming what is near.
      WorkError: when it is damaged.
    """
    from lepton_jax.io import files
    from lepton_jax.tracking.record import Record

    name = os.path.expanduser(os.fspath(path))
    if not name:
        raise UserError("load what? expected a workdir, a checkpoint, a bundle or 'NAME@ALIAS'")
    folder, _, last = name.rstrip("/").rpartition("/")
    if last.isdecimal() and os.path.basename(folder) == "checkpoints":
        if step not in ("best", int(last), last):
            raise UserError(
                f"{name} is step {last}, and step={step!r} is another; give one of them"
            )
        return open_run(os.path.dirname(folder) or ".", last)
    if Record.exists(name):
        return open_run(name, str(step))
    is_bundle = files.is_local(name) and os.path.isfile(os.path.join(name, "manifest.json"))
    if not is_bundle and (files.is_dir(name) or ("@" not in name and not _is_version(name))):
        raise UserError(
            f"{name} is no run (config.json), checkpoint (checkpoints/STEP) or bundle "
            f"(manifest.json){files.name_nearest(name)}; a registered model is 'NAME@ALIAS' or "
            "'NAME/VERSION'"
        )
    if step != "best":
        raise UserError(f"{name} is a bundle, of one step; step={step!r} is of a run")
    from lepton_jax.registry.bundles import open_bundle
    from lepton_jax.serving import loader

    try:
        bundle, source = open_bundle(*((name, None) if is_bundle else (None, name)))
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    return OpenedBundle(source, bundle)


def _is_version(name: str) -> bool:
    """Tells whether a name is of the form NAME/VERSION."""
    model, _, version = name.partition("/")
    return bool(model) and version.isdecimal()
