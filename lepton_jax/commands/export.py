"""The command `export`."""

from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from lepton_jax.export.bundle import ExportedBundle
    from lepton_jax.export.formats import ExportedWeights


@command
def export(
    workdir: PathText,
    out: PathText,
    *,
    checkpoint: str = "best",
    format: str = "bundle",
    replace: bool = False,
) -> "ExportedBundle | ExportedWeights":
    """Writes a run's model as a bundle: a folder that answers without lepton_jax.

    --workdir=DIR                   a record, as `train` leaves it
    --out=DIR                       where it goes
    --checkpoint=best               best, last, or a step
    --format=bundle                 or hugging_face: config.json and model.safetensors as
                                    transformers reads them; or lora: the adapters of a run with
                                    LoRA, one safetensors file
    --replace                       puts it in the place of another run's bundle or weights

    Examples:
      python launch.py export --workdir=runs/digits --out=bundles/digits
      python launch.py export --workdir=runs/vit --format=hugging_face --out=vit
    """
    from lepton_jax.tracking.record import Record

    Record.open(workdir)  # before JAX is imported
    from lepton_jax.export import bundle, formats
    from lepton_jax.export.exportable import prepare_export
    from lepton_jax.training import saved
    from lepton_jax.training.runtime import runtime

    writers: dict[str, Any] = {
        "bundle": lambda run, *args: bundle.export_bundle(prepare_export(run), *args),
        "hugging_face": formats.export_hugging_face,
        "lora": formats.export_adapters,
    }
    if format not in writers:
        near = did_you_mean(format, writers)
        raise UserError(f"--format={format}{near}: expected {', '.join(writers)}")
    with runtime(saved.read_config(workdir).precision):
        return writers[format](saved.load_run(workdir, checkpoint), out, replace)
