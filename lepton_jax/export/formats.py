"""Writes the weights of a run for other programs: a folder of Hugging Face, or adapters alone."""

from dataclasses import asdict, dataclass
from typing import Any

from etils import epath

from lepton_jax.console import format_command
from lepton_jax.errors import UserError
from lepton_jax.io.weight_files import is_pretrained
from lepton_jax.models.hugging_face.folder import write_pretrained
from lepton_jax.training import lora
from lepton_jax.training.saved import SavedRun


@dataclass(frozen=True)
class ExportedWeights:
    """Weights that were written, and what may be done with them next."""

    path: str
    step: int
    what: str
    next: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"Exported step {self.step}: {self.what}\nIt is in {self.path}; next: {self.next}"


def export_hugging_face(run: SavedRun, out: str, replace: bool = False) -> ExportedWeights:
    """Writes the folder `out`: config.json, model.safetensors and, with texts, tokenizer.json.

    Raises:
      UserError: when transformers has no such model, or `out` holds something else; other weights
        too, unless `replace` says that they may go.
    """
    folder = epath.Path(out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out={out} is a file; give a folder that does not exist")
    if folder.exists() and any(folder.iterdir()):
        if not is_pretrained(folder):
            raise UserError(f"--out={out} exists and is no folder of Hugging Face; give a new one")
        if not replace:
            raise UserError(
                f"--out={out} holds weights already; choose another --out, or give --replace to "
                "write over them"
            )
    program = run.program
    architecture, arrays = write_pretrained(
        folder, run.weights, program.config.model, *program.parts.shape, run.data.spec.classes
    )
    if run.data.tokenizer is not None:
        (folder / "tokenizer.json").write_text(run.data.tokenizer.text)
    load = f"transformers.{architecture}.from_pretrained({out!r})"
    return ExportedWeights(out, run.step, f"{architecture}, {arrays} arrays", load)


def export_adapters(run: SavedRun, out: str, replace: bool = False) -> ExportedWeights:
    """Writes the adapters that a run with `lora` trained as one safetensors file, `out`.

    Raises:
      UserError: when it trained no adapters, or `out` is a folder, or a file that `replace` does
        not allow to go.
    """
    config, fit, file = run.program.config, run.state.learner, epath.Path(out)
    if config.lora is None:
        raise UserError(f"the run in {run.workdir} has no lora; export it as a bundle")
    if file.is_dir():
        raise UserError(
            f"--out={out} is a folder; adapters are one file, e.g. {out}/adapters.safetensors"
        )
    if file.exists() and not replace:
        raise UserError(
            f"--out={out} exists; choose another --out, or give --replace to write over it"
        )
    learner: Any = run.program.training.learner(run.state)[0]
    size = lora.write_adapters(file, learner.evaluated(fit), config.lora.alpha)
    load = format_command("train ... --config.init_from=BASE", **{"config.lora.init_from": out})
    return ExportedWeights(out, run.step, f"{len(fit.params)} arrays, {size / 1e6:.2f} MB", load)
