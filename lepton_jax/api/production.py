"""From a record to a model that answers: the commands of production."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.export.bundle import ExportedBundle
    from lepton_jax.export.formats import ExportedWeights
    from lepton_jax.export.verify import BundleVerdict
    from lepton_jax.generate import Generated
    from lepton_jax.predict import Predictions
    from lepton_jax.registry.promotion import Decision
    from lepton_jax.registry.store import Version


def export(
    workdir: str, out: str, *, checkpoint: str = "best", format: str = "bundle"
) -> "ExportedBundle | ExportedWeights":
    """Writes a run's model as a bundle: a folder that answers without the lab that made it.

    --workdir=DIR                   a record, as `train` leaves it
    --out=DIR                       where it goes
    --checkpoint=best               best, last, or a step
    --format=bundle                 or hugging_face: config.json and model.safetensors as
                                    transformers reads them; or lora: the adapters of a run that
                                    trained some, one safetensors file

    Examples:
      python launch.py export --workdir=runs/digits --out=bundles/digits
      python launch.py export --workdir=runs/vit --format=hugging_face --out=vit
    """
    from lepton_jax.errors import did_you_mean
    from lepton_jax.export import bundle
    from lepton_jax.export import formats as export_weights
    from lepton_jax.training import saved
    from lepton_jax.training.runtime import runtime

    formats: dict[str, Any] = {
        "bundle": bundle.export_bundle,
        "hugging_face": export_weights.export_hugging_face,
        "lora": export_weights.export_adapters,
    }
    if format not in formats:
        near = did_you_mean(format, formats)
        raise UserError(f"--format={format}{near}: expected {', '.join(formats)}")
    with runtime(saved.read_config(workdir).precision):
        return formats[format](saved.load_run(workdir, checkpoint), out)


def verify(bundle: str, *, workdir: str = "") -> "BundleVerdict":
    """Proves, in a clean process, that a bundle is whole and computes what it says.

    --bundle=DIR                    as `export` leaves it
    --workdir=DIR                   the run it came from, where its data is to be found

    The verdict lies beside the manifest and names the bundle's id. Exit code 1 if it does not hold.

    Example:
      python launch.py verify --bundle=bundles/digits
    """
    from lepton_jax.export import verify as verification

    return verification.verify_bundle(bundle, workdir=workdir or None)


def register(bundle: str, model: str) -> "Version":
    """Adds a verified bundle to the registry as a new version of a model.

    --bundle=DIR                    verified, and unchanged since
    --model=NAME                    whose version it becomes

    The registry is an embedded one below ~/.local/share/lepton_jax, another folder by
    LEPTON_JAX_REGISTRY, or any MLflow server by MLFLOW_TRACKING_URI.

    Example:
      python launch.py register --bundle=bundles/digits --model=digits
    """
    from lepton_jax.registry import store

    return store.register_bundle(bundle, model)


def promote(*, bundle: str = "", model: str = "", to: str = "staging") -> "Decision":
    """Moves an alias to a version, if it is verified, unchanged and meets the model's gate.

    --model=NAME[/VERSION]          the newest version by default
    --bundle=DIR                    registers it first, if it has no version yet
    --to=staging                    staging or production

    Examples:
      python launch.py promote --model=digits --to=staging
      python launch.py promote --bundle=bundles/digits --model=digits --to=production
    """
    from lepton_jax.registry import promotion

    return promotion.promote_version(bundle=bundle or None, model=model or None, to=to)


def registry(
    inputs: Sequence[str] = (), *, model: str = "", to: str = "staging", require: str = ""
) -> Any:
    """What the registry holds, and what it asks for.

    list                            every model, its versions and aliases
    show --model=NAME               its gate, versions and their metrics
    diff NAME/1 NAME@staging        what two versions state differently
    history --model=NAME            every decision and every move of an alias
    rollback --model=NAME --to=...  the alias back to the version it had before
    gate --model=NAME               what a version must meet to be promoted
    gate --model=NAME --require='test/accuracy>=0.98,test/loss<=0.1'

    Example:
      python launch.py registry list
    """
    from lepton_jax.errors import did_you_mean
    from lepton_jax.registry import promotion, views

    actions = ("list", "show", "diff", "history", "rollback", "gate")
    action, *rest = inputs or ("list",)
    if action not in actions:
        near = did_you_mean(action, actions)
        raise UserError(f"registry: no action {action!r}{near}; there are: {', '.join(actions)}")
    if len(rest) != (2 if action == "diff" else 0):
        raise UserError(
            "registry diff takes two versions, e.g. digits/1 digits@staging; the others"
            f" take --model=NAME; got {' '.join(inputs)}"
        )
    if action not in ("list", "diff") and not model:
        raise UserError(f"registry {action}: --model is missing")
    match action:
        case "list":
            return views.list_models()
        case "show":
            return views.show_model(model)
        case "diff":
            return views.diff_versions(*rest)
        case "history":
            return promotion.read_history(model)
        case "rollback":
            return promotion.roll_back_alias(model, to)
    return promotion.set_gate(model, require.split(",") if require else None)


def predict(
    inputs: Sequence[Any] = (), *, bundle: str = "", model: str = "", examples: int = 0
) -> "Predictions":
    """Answers from a bundle or a registered model, drawn in the terminal.

    FILE ...                        images (brought to size as the bundle declares) or .npy arrays
    SEED ...                        or whole numbers, where the model generates from seeds
    TEXT ...                        or texts, in quotes, where the model reads them
    --model=NAME@ALIAS              from the registry, whose digest is checked; or NAME/VERSION
    --bundle=DIR                    or from a folder
    --examples=N                    the bundle's own held-out examples, with the truth beside

    Examples:
      python launch.py predict --model=digits@staging --examples=8
      python launch.py predict --bundle=bundles/digits seven.png
      python launch.py predict --bundle=bundles/trec 'Who wrote Hamlet?'
    """
    from lepton_jax.predict import predict as answer

    return answer(bundle=bundle or None, model=model or None, inputs=inputs, examples=examples)


def generate(
    *,
    workdir: str = "",
    bundle: str = "",
    model: str = "",
    prompt: str = "\n",
    tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    checkpoint: str = "best",
) -> "Generated":
    """Text from a language model, shown as it is made.

    --workdir=DIR                   a run of language modelling, or
    --bundle=DIR                    its bundle, or
    --model=NAME@ALIAS              its version in the registry; or NAME/VERSION
    --prompt=TEXT                   what to go on from; a new line by default
    --tokens=200                    how many to make, if the text does not end before
    --temperature=0.8               0: the likeliest token after each
    --top_k=N --top_p=0.9           only the likeliest tokens; all by default
    --seed=0                        other numbers, other texts
    --checkpoint=best               of a run: best, last, or a step

    Examples:
      python launch.py generate --workdir=runs/shakespeare --prompt="ROMEO:"
      python launch.py generate --bundle=bundles/shakespeare --prompt="ROMEO:" --temperature=0
    """
    from lepton_jax.generate import generate as made

    return made(
        workdir=workdir or None,
        bundle=bundle or None,
        model=model or None,
        prompt=prompt,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        checkpoint=checkpoint,
    )
