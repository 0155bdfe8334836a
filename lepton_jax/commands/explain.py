"""The command `explain`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import NaturalInt, PathText
from lepton_jax.console import format_table
from lepton_jax.errors import UserError, WorkError

if TYPE_CHECKING:
    from lepton_jax.explanation.explained import ExplainedInputs


@dataclass(frozen=True, repr=False)
class Explanations:
    """What each method says of some answers, and whether it may be believed."""

    explained: "ExplainedInputs"
    out: str
    files: tuple[str, ...]
    """What was written into the folder."""

    def as_json(self) -> dict[str, Any]:
        from lepton_jax.explanation.summary import explanation_json

        return {**explanation_json(self.explained), "out": self.out, "files": list(self.files)}

    def __repr__(self) -> str:
        return f"{len(self.explained)} explanations of {self.explained.source}"

    def __str__(self) -> str:
        from lepton_jax.explanation.summary import check_rows, describe_faults

        found = self.explained
        lines = format_table(check_rows(found.checks), right=range(1, 9))
        lines += [
            f"{name} fails: {'; '.join(faults)}" for name, faults in describe_faults(found.checks)
        ]
        lines.append(
            f"{len(found)} answers by {found.source} are explained; checked on the first "
            f"{found.checks.inputs}"
        )
        lines.append(f"open: {self.out}/explanation.html")
        return "\n".join(lines)


@command
def explain(
    inputs: Sequence[Any] = (),
    *,
    workdir: PathText = "",
    bundle: PathText = "",
    model: str = "",
    method: str = "",
    examples: NaturalInt = 0,
    worst: NaturalInt = 0,
    layer: str = "",
    checkpoint: str = "best",
    out: PathText = "explanation",
) -> Explanations:
    """Explains answers: which parts of an input speak for a class, and which method to believe.

    FILE ..., TEXT ...              what is explained, as `predict` takes it, or
    --examples=N                    the first examples of `test`, or a bundle's own, or
    --worst=N                       the examples of `test` that a run is most wrong about
    --workdir=DIR                   a run, whose model can be looked into, or
    --bundle=DIR --model=NAME@ALIAS what can only be asked: occlusion, ablation, lime and shap
    --method=NAME,NAME              saliency, smoothgrad, integrated_gradients, expected_gradients,
                                    grad_cam, attention_rollout, attention_gradient, occlusion,
                                    ablation; lime and shap, which need libraries of their own. By
                                    default all that the model has but these two
    --layer=NAME                    what grad_cam looks at; by default the last convolution
    --checkpoint=best               of a run: best, last, or a step
    --out=explanation               the folder for the page, its pictures and its numbers

    Examples:
      python launch.py explain --workdir=runs/digits --examples=8
      python launch.py explain --workdir=runs/digits --worst=8 --method=saliency,occlusion
      python launch.py explain --bundle=bundles/trec 'Who wrote Hamlet?'
    """
    from lepton_jax.cli.looks import look_for_bundle, look_for_run
    from lepton_jax.io import files

    if sum(map(bool, (workdir, bundle, model))) != 1:
        raise UserError(
            "explain: no model; give one of --workdir=DIR, --bundle=DIR or --model=NAME@staging",
            try_line=["explain", "--help"],
        )
    given = next(
        f"--{n}={v}" for n, v in (("workdir", workdir), ("bundle", bundle), ("model", model)) if v
    )
    if not (inputs or examples or worst):
        raise UserError(
            "explain what? give image or .npy files, a text, --examples=8, or --worst=8",
            instead=(given, given, "--examples=8"),
        )
    if workdir:
        look_for_run(workdir, checkpoint)
    if bundle:
        look_for_bundle(bundle)
    files.check_can_make(out)
    from lepton_jax.explanation.explained import explain_inputs
    from lepton_jax.explanation.methods import check_method
    from lepton_jax.explanation.report import write_explanation
    from lepton_jax.serving import loader

    names = [name.strip() for name in method.split(",") if name.strip()]
    for name in names:
        check_method(name)
    try:
        opened, saved, source = _open(workdir, bundle, model, checkpoint)
        found = explain_inputs(opened, saved, source, names, inputs, examples, worst, layer)
    except loader.InputError as e:
        raise UserError(str(e)) from None
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    return Explanations(found, out, write_explanation(found, out))


def _open(workdir: str, bundle: str, model: str, checkpoint: str) -> tuple[Any, Any, str]:
    """Returns what answers, the run or None, and where it comes from in words."""
    if not workdir:
        from lepton_jax.registry.bundles import open_bundle

        loaded, source = open_bundle(bundle or None, model or None)
        return loaded, None, source
    from lepton_jax.notebook.trained_model import TrainedModel
    from lepton_jax.training.recorded_config import read_config
    from lepton_jax.training.runtime import runtime
    from lepton_jax.training.saved import load_run

    with runtime(read_config(workdir).precision):
        saved = load_run(workdir, checkpoint)
    return TrainedModel(saved), saved, f"{workdir}, step {saved.step}"
