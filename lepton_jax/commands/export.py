"""The command `export`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError, choice_error

if TYPE_CHECKING:
    from lepton_jax.export.bundle import ExportedBundle
    from lepton_jax.export.formats import ExportedWeights


@dataclass(frozen=True)
class ArchivedBundle:
    """A bundle that was written as a folder, and as an archive of it."""

    exported: "ExportedBundle"
    archive: str

    def as_json(self) -> dict[str, Any]:
        return {**self.exported.as_json(), "archive": self.archive}

    def __str__(self) -> str:
        return f"{self.exported}\nIts archive is {self.archive}"


@command
def export(
    workdir: PathText,
    out: PathText,
    *,
    checkpoint: str = "best",
    format: str = "bundle",
    replace: bool = False,
    archive: PathText = "",
    variants: str = "",
) -> "ExportedBundle | ArchivedBundle | ExportedWeights":
    """Writes a run's model as a bundle: a folder that answers without lepton_jax.

    --workdir=DIR                   a record, as `train` leaves it
    --out=DIR                       where it goes
    --checkpoint=best               best, last, or a step
    --format=bundle                 or hugging_face: config.json and model.safetensors as
                                    transformers reads them; or lora: the adapters of a run with
                                    LoRA, one safetensors file
    --variants=bfloat16,int8        also with smaller weights, and what that costs in the metric
    --archive=FILE.tar              also writes the bundle as one file, whose bytes follow from the
                                    bundle's files alone
    --replace                       puts it in the place of another run's bundle or weights

    Examples:
      python launch.py export --workdir=runs/digits --out=bundles/digits
      python launch.py export --workdir=runs/vit --format=hugging_face --out=vit
    """
    from lepton_jax.cli.looks import look_for_run
    from lepton_jax.io import files

    formats = ("bundle", "hugging_face", "lora")
    if format not in formats:
        raise choice_error("export: no format", format, formats, "--format")
    if archive and format != "bundle":
        raise UserError(f"--archive={archive}: only a bundle has an archive, not --format={format}")
    if variants and format != "bundle":
        raise UserError(f"--variants={variants}: only a bundle has variants, not --format={format}")
    look_for_run(workdir, checkpoint)
    files.check_can_make(os.path.dirname(archive) or ".")
    files.check_can_make(os.path.dirname(out) or ".")

    from lepton_jax.archive import write_archive
    from lepton_jax.export import bundle
    from lepton_jax.export.exportable import prepare_export
    from lepton_jax.export.formats import export_adapters, export_hugging_face
    from lepton_jax.export.variants import parse_variants
    from lepton_jax.training import saved
    from lepton_jax.training.runtime import runtime

    names = parse_variants(variants)
    with runtime(saved.read_config(workdir).precision):
        run = saved.load_run(workdir, checkpoint)
        match format:
            case "hugging_face":
                return export_hugging_face(run, out, replace)
            case "lora":
                return export_adapters(run, out, replace)
        exported = bundle.export_bundle(prepare_export(run, names), out, replace)
    if not archive:
        return exported
    files.make_dir(os.path.dirname(archive) or ".")
    write_archive(Path(out), archive)
    return ArchivedBundle(exported, archive)
