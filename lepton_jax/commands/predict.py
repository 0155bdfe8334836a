"""The command `predict`."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import NaturalInt, PathText
from lepton_jax.console import can_show, format_command
from lepton_jax.errors import UserError, WorkError, choice_error
from lepton_jax.notebook.answers import draw_answers

if TYPE_CHECKING:
    from lepton_jax.answers.kind import Shown

PROGRAMS = ("stablehlo", "onnx")


@dataclass(frozen=True, repr=False)
class Predictions:
    """Answers of a bundle, in the order of the inputs."""

    id: str
    """The bundle's."""
    source: str
    answers: tuple["Shown", ...]
    flag: str
    """Names the bundle on the command line."""
    takes: str
    """A placeholder for what the bundle answers."""
    own: bool = False
    """Whether the user's own inputs are among those that were answered."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of `probabilities`; () where there are none."""
    note: str = ""
    """Why the answers are shown as numbers, where their kind is not known here."""

    def as_json(self) -> dict[str, Any]:
        answers = [a.as_json() for a in self.answers]
        classes = list(self.classes)
        return {"id": self.id, "source": self.source, "classes": classes, "answers": answers}

    def __repr__(self) -> str:
        return f"{len(self.answers)} answers by {self.source}"

    def _repr_html_(self) -> str:
        return draw_answers(self.answers)

    def __str__(self) -> str:
        blocks = can_show("░▒▓█▀", sys.stdout)
        dumb = os.environ.get("TERM", "dumb") == "dumb" or "NO_COLOR" in os.environ
        color = blocks and not dumb and sys.stdout.isatty()
        return self.drawn(color=color, blocks=blocks)

    def drawn(self, *, color: bool = False, columns: int = 80, blocks: bool = True) -> str:
        """Returns each answer in lines, or below the small picture of its image.

        Pictures are in shades of ASCII where the terminal has no `blocks`.
        """
        from lepton_jax.plots.terminal import ASCII_SHADES, SHADES, draw_gallery

        lines = [line for a in self.answers for line in a.lines()]
        pictures = [picture for a in self.answers if (picture := a.picture()) is not None]
        shades = SHADES if blocks else ASCII_SHADES
        lines += draw_gallery(pictures, color=color, columns=columns, shades=shades)
        judged = [a.is_right for a in self.answers if a.is_right is not None]
        if judged:
            lines.append(f"{sum(judged)} of {len(judged)} as labelled")
        if self.note:
            lines.append(self.note)
        lines.append(f"Answered by {self.source}, {self.id}")
        if self.own:
            lines.append(f"next: {format_command(f'predict {self.flag} --examples=8')}")
        else:
            lines.append(f"your own: {format_command(f'predict {self.flag} {self.takes}')}")
        return "\n".join(lines)


@command
def predict(
    inputs: Sequence[Any] = (),
    *,
    bundle: PathText = "",
    model: str = "",
    examples: NaturalInt = 0,
    kind: str = "",
    program: str = "",
) -> Predictions:
    """Answers from a bundle or a registered model, drawn in the terminal.

    FILE ...                        images (brought to size as the bundle declares) or .npy arrays
    SEED ...                        or whole numbers, where the model generates from seeds
    TEXT ...                        or texts, in quotes, where the model reads them
    --model=NAME@ALIAS              from the registry, whose digest is checked; or NAME/VERSION
    --bundle=DIR                    or from a folder or an archive, FILE.tar
    --examples=N                    the bundle's own held-out examples, with the truth beside
    --kind=my_pkg.module:Name       your own kind of answer, whose code a bundle can only name
    --program=NAME                  stablehlo or onnx, or int8/onnx of a variant; by default onnx,
                                    unless the bundle has none, `verify` found stablehlo to be
                                    faster on a CPU, or there is an accelerator

    Examples:
      python launch.py predict --model=digits@staging --examples=8
      python launch.py predict --bundle=bundles/digits seven.png
      python launch.py predict --bundle=bundles/trec 'Who wrote Hamlet?'
    """
    from lepton_jax.cli.looks import look_for_bundle, look_for_images

    if bool(bundle) == bool(model):
        raise UserError("predict with what? give either --bundle=DIR or --model=NAME@staging")
    if not inputs and not examples:
        given = f"--bundle={bundle}" if bundle else f"--model={model}"
        raise UserError(
            "predict what? give image or .npy files, a text, or --examples=8",
            instead=(given, given, "--examples=8"),
        )
    if program.rpartition("/")[2] not in ("", *PROGRAMS):
        raise choice_error("predict: no program", program, PROGRAMS, "--program")
    if bundle:
        look_for_bundle(bundle)
        look_for_images(bundle, inputs)
    from lepton_jax.prediction.answer import answer_inputs
    from lepton_jax.prediction.inputs import expected_input
    from lepton_jax.registry.bundles import open_bundle
    from lepton_jax.serving import loader

    try:
        loaded, source = open_bundle(bundle or None, model or None, program)
        found = answer_inputs(loaded, inputs, examples, kind)
    except loader.InputError as e:
        raise UserError(str(e)) from None
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    flag = f"--bundle={shlex.quote(bundle)}" if bundle else f"--model={shlex.quote(model)}"
    takes = expected_input(loaded)
    return Predictions(
        loaded.id,
        source,
        found.answers,
        flag,
        takes,
        own=bool(inputs),
        classes=tuple(loaded.labels),
        note=found.note,
    )
