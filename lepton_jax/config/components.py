"""Every component that a config may name, and how a name becomes the component.

A value of `TABLES` is 'module:Name'; the module is imported only when the component is chosen. A
config may write its own 'my_pkg.module:Name' wherever it may write one of these names.
"""

import contextlib
import functools
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.config.definitions import read_definition
from lepton_jax.config.schema import REQUIRED, Key, optax_keys, signature_keys
from lepton_jax.config.user_code import blame, call_mistake, definition_of, users_line
from lepton_jax.errors import (
    UserError,
    WorkError,
    describe_arguments,
    describe_error,
    describe_value,
    did_you_mean,
    list_names,
)
from lepton_jax.nearest import find_meant, find_nearest

TABLES: dict[str, dict[str, str]] = {
    "model": {
        "bert": "lepton_jax.models.bert:Bert",
        "bert_mlm": "lepton_jax.models.bert:BertMLM",
        "cnn": "lepton_jax.models.cnn:CNN",
        "conv1d": "lepton_jax.models.conv1d:Conv1D",
        "encoder_decoder": "lepton_jax.models.encoder_decoder:EncoderDecoder",
        "fcos": "lepton_jax.models.fcos:FCOS",
        "googlenet": "lepton_jax.models.googlenet:GoogLeNet",
        "gru": "lepton_jax.models.rnn:GRU",
        "kim_cnn": "lepton_jax.models.kim_cnn:KimCNN",
        "lenet": "lepton_jax.models.lenet:LeNet",
        "mlp": "lepton_jax.models.mlp:MLP",
        "resnet": "lepton_jax.models.resnet:ResNet",
        "resnet9": "lepton_jax.models.resnet9:ResNet9",
        "rnn_lm": "lepton_jax.models.rnn_text:RNNLM",
        "rnn_seq2seq": "lepton_jax.models.rnn_seq2seq:RNNSeq2Seq",
        "rnn_text": "lepton_jax.models.rnn_text:RNNText",
        "transformer": "lepton_jax.models.transformer:Transformer",
        "unet": "lepton_jax.models.unet:UNet",
        "vae": "lepton_jax.models.vae:VAE",
        "vit": "lepton_jax.models.vit:ViT",
    },
    "task": {
        "image_classification": "lepton_jax.tasks.classification:ImageClassification",
        "image_generation_by_flow": "lepton_jax.tasks.generation:FlowGeneration",
        "image_generation_by_vae": "lepton_jax.tasks.generation:AutoencodedGeneration",
        "language_modelling": "lepton_jax.tasks.language_modelling:LanguageModelling",
        "masked_language_modelling": (
            "lepton_jax.tasks.masked_language_modelling:MaskedLanguageModelling"
        ),
        "object_detection": "lepton_jax.tasks.detection:ObjectDetection",
        "signal_classification": "lepton_jax.tasks.classification:SignalClassification",
        "text_classification": "lepton_jax.tasks.text_classification:TextClassification",
        "translation": "lepton_jax.tasks.translation:Translation",
    },
    "answer": {
        "class": "lepton_jax.answers.class_label:ClassKind",
        "objects": "lepton_jax.answers.objects:ObjectsKind",
        "text": "lepton_jax.answers.text:TextKind",
        "image": "lepton_jax.answers.image:ImageKind",
        "numbers": "lepton_jax.answers.numbers:NumbersKind",
    },
    "source": {
        "csv": "lepton_jax.data.sources.tables:csv",
        "digits": "lepton_jax.data.sources.digits:digits",
        "folder": "lepton_jax.data.sources.folder:folder",
        "generated_images": "lepton_jax.data.sources.generated:generated_images",
        "generated_objects": "lepton_jax.data.sources.generated:generated_objects",
        "generated_texts": "lepton_jax.data.sources.generated:generated_texts",
        "generated_tokens": "lepton_jax.data.sources.generated:generated_tokens",
        "jsonl": "lepton_jax.data.sources.tables:jsonl",
        "mixed": "lepton_jax.data.sources.mixed:mixed",
        "mnist1d": "lepton_jax.data.sources.mnist1d:mnist1d",
        "npz": "lepton_jax.data.sources.npz:npz",
        "parquet": "lepton_jax.data.sources.parquet:parquet",
        "requests": "lepton_jax.data.sources.requests:requests",
        "saved_dataset": "lepton_jax.data.sources.arrow:saved_dataset",
        "tfds": "lepton_jax.data.sources.tfds:tfds",
    },
    "tokenizer": {
        "bpe": "lepton_jax.data.text.train_tokenizer:bpe",
        "characters": "lepton_jax.data.text.train_tokenizer:characters",
        "pretrained": "lepton_jax.data.text.train_tokenizer:read_tokenizer_file",
        "wordpiece": "lepton_jax.data.text.train_tokenizer:wordpiece",
        "words": "lepton_jax.data.text.train_tokenizer:words",
    },
    "encoding": {
        "stream": "lepton_jax.data.text.chunks:StreamEncoding",
        "text": "lepton_jax.data.text.encodings:TextEncoding",
        "translation": "lepton_jax.data.text.encodings:TranslationEncoding",
    },
    "host transform": {
        "center_crop": "lepton_jax.transforms.host:center_crop",
        "drop_empty_boxes": "lepton_jax.transforms.host:drop_empty_boxes",
        "grayscale": "lepton_jax.transforms.host:grayscale",
        "pad_boxes": "lepton_jax.transforms.host:pad_boxes",
        "random_resized_crop": "lepton_jax.transforms.host:random_resized_crop",
        "resize": "lepton_jax.transforms.host:resize",
        "resize_shorter": "lepton_jax.transforms.host:resize_shorter",
        "rgb": "lepton_jax.transforms.host:rgb",
    },
    "transform": {
        "blur": "lepton_jax.transforms.blur:blur",
        "brightness": "lepton_jax.transforms.colour:brightness",
        "contrast": "lepton_jax.transforms.colour:contrast",
        "cutmix": "lepton_jax.transforms.mix:cutmix",
        "cutout": "lepton_jax.transforms.cutout:cutout",
        "flip": "lepton_jax.transforms.geometry:flip",
        "mixup": "lepton_jax.transforms.mix:mixup",
        "pad_crop": "lepton_jax.transforms.geometry:pad_crop",
        "pixel_noise": "lepton_jax.transforms.pixel_noise:pixel_noise",
        "rand_augment": "lepton_jax.transforms.rand_augment:rand_augment",
        "random_resized_crop": "lepton_jax.transforms.geometry:random_resized_crop",
        "saturation": "lepton_jax.transforms.colour:saturation",
        "scale": "lepton_jax.transforms.scale:scale",
        "zoom": "lepton_jax.transforms.geometry:zoom",
    },
    "optimizer": {
        "adabelief": "optax:adabelief",
        "adagrad": "optax:adagrad",
        "adam": "optax:adam",
        "adamax": "optax:adamax",
        "adamw": "optax:adamw",
        "lamb": "optax:lamb",
        "lion": "optax:lion",
        "muon": "optax.contrib:muon",
        "nadam": "optax:nadam",
        "nadamw": "optax:nadamw",
        "radam": "optax:radam",
        "rmsprop": "optax:rmsprop",
        "sgd": "optax:sgd",
        "yogi": "optax:yogi",
    },
    "schedule": {
        "constant": "lepton_jax.training.schedules:constant",
        "cosine": "lepton_jax.training.schedules:cosine",
        "linear": "lepton_jax.training.schedules:linear",
        "one_cycle": "lepton_jax.training.schedules:one_cycle",
        "piecewise": "lepton_jax.training.schedules:piecewise",
        "rsqrt": "lepton_jax.training.schedules:rsqrt",
    },
    "metric": {
        "average_precision": "lepton_jax.metrics.detection:AveragePrecision",
        "bits_per_character": "lepton_jax.metrics.classification:BitsPerCharacter",
        "calibration": "lepton_jax.metrics.calibration:Calibration",
        "classification": "lepton_jax.metrics.classification:ClassificationMetrics",
        "frechet": "lepton_jax.training.classifier_features:frechet",
        "perplexity": "lepton_jax.metrics.classification:Perplexity",
        "top_k": "lepton_jax.metrics.classification:TopK",
    },
    "strategy": {
        "jit": "lepton_jax.placement.strategies:jit",
        "mesh": "lepton_jax.placement.strategies:mesh",
        "pmap": "lepton_jax.placement.strategies:pmap",
    },
    "writer": {
        "mlflow": "lepton_jax.tracking.writers.mlflow:MLflow",
        "tensorboard": "lepton_jax.tracking.writers.tensorboard:TensorBoard",
        "wandb": "lepton_jax.tracking.writers.wandb:WandB",
    },
}


CALLED_AS = {
    "model": "__init__(self, input_shape, outputs, *, KEYS..., rngs)",
    "task": "__init__(self, spec, *, KEYS...)",
    "metric": "__init__(self, classes, *, KEYS...)",
    "source": "NAME(*, KEYS...)",
    "transform": "NAME(batch, noise, *, KEYS...)",
    "host transform": "NAME(element, *, KEYS...)",
    "schedule": "NAME(total, steps, *, KEYS...)",
    "strategy": "NAME(devices, *, KEYS...)",
    "optimizer": "NAME(learning_rate, KEYS...)",
}
"""What the harness hands to a component of the user's own."""


@dataclass(frozen=True)
class Component:
    """A component that a config chose: its kind, its name, and a value for each of its keys."""

    kind: str
    name: str
    keys: Mapping[str, Any]

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the component with its keys, and with what the harness hands over.

        Raises:
          UserError: in place of what the component raises, with its line and what it got.
        """
        component, keys = resolve_component(self.kind, self.name), {**self.keys, **kwargs}
        try:
            return component(*args, **keys)
        except (Exception, SystemExit) as e:
            if self.kind == "writer":  # `tracking.writers` knows how trackers fail
                raise
            who, got = f"{self.kind} {self.name}", describe_arguments(args)
            mistake = call_mistake(component, args, keys)
            cure = f"expected {CALLED_AS[self.kind]}" if mistake and self.kind in CALLED_AS else ""
            if mistake and self.kind == "metric" and not keys:
                cure = (
                    "a metric is made with the names of the classes: write "
                    "`def __init__(self, classes): ...`"
                )
            blame(who, e, got=got, at=definition_of(component), cure=cure)

    def entries(self) -> Iterator[tuple[str, Any, Key]]:
        """Yields the name and every key of the component, each with its value and declaration."""
        yield "name", self.name, Key(str, REQUIRED, ())
        declared = component_keys(self.kind, self.name)
        for name, value in self.keys.items():
            yield name, value, declared[name]

    def replace(self, values: Mapping[str, Any]) -> "Component":
        """Returns the component with other values for these keys."""
        return Component(self.kind, self.name, {**self.keys, **values})


def component_keys(kind: str, name: str) -> dict[str, Key]:
    """Returns the config keys of a component.

    Those of lepton_jax and optax are read from the source, so that a mistake in a config is told
    before JAX is imported. A user's own component is imported.

    Raises:
      ValueError: where there is none so called, or its signature says no keys of a config.
    """
    if name in TABLES[kind] and (keys := _keys_of_source(kind, name)) is not None:
        return keys
    return _keys_of(kind, name, resolve_component(kind, name))


@functools.cache
def _keys_of_source(kind: str, name: str) -> dict[str, Key] | None:
    """Reads the keys of a component from its source; None where that does not say them."""
    module, _, attribute = TABLES[kind][name].partition(":")
    definition = read_definition(module, attribute)
    if definition is None:
        return None
    read_keys = optax_keys if kind == "optimizer" else signature_keys
    return read_keys(definition.stand_in())


@functools.cache
def _keys_of(kind: str, name: str, component: Any) -> dict[str, Key]:
    """Reads the keys of a component; one that a notebook defines anew has its new keys."""
    if kind == "optimizer":
        return optax_keys(component)
    if any(c.__module__.startswith("flax.linen") for c in getattr(component, "__mro__", ())):
        raise ValueError(
            f"{kind} {name!r}{_defined(component)} is a flax.linen module; expected a "
            "flax.nnx.Module (flax.nnx.bridge.ToNNX wraps one)"
        )
    try:
        keys = signature_keys(component)
    except (NameError, TypeError) as e:
        raise ValueError(
            f"{kind} {name!r}{_defined(component)}: an annotation of its keys cannot be read: "
            f"{describe_error(e)}"
        ) from None
    for key, declared in keys.items():
        if declared.default is not REQUIRED and not _is_plain(declared.default):
            raise ValueError(
                f"{kind} {name!r}{_defined(component)}: the default of {key!r} is "
                f"{describe_value(declared.default)}; a config holds numbers, texts, bools, None "
                "and tuples of them: take a text and choose by it"
            )
    return keys


def _defined(component: Any) -> str:
    where = definition_of(component)
    return f" ({where})" if where else ""


def _is_plain(value: Any) -> bool:
    """Returns whether a config.json can hold a value."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def find_component(kind: str, name: str) -> str | None:
    """Finds the name of a kind of component that `name` probably means, `torch.optim:AdamW` too.

    Of a module that a user names it is another one only if the last part is a name of ours.
    """
    last = re.split(r"[.:/]", name)[-1]
    near = find_meant(last, TABLES[kind]) if last != name else None
    return near or (None if ":" in name else find_nearest(name, TABLES[kind]))


def name_module(file: str) -> str:
    """Returns the module of a file below the working folder as Python imports it."""
    return file.removesuffix(".py").strip("./").replace("/", ".")


def resolve_component(kind: str, name: str) -> Callable[..., Any]:
    """Imports the class or function that `name` stands for.

    Raises:
      ValueError: with a sentence saying why there is no such component.
    """
    table = TABLES[kind]
    if ":" not in name and name not in table:
        nearest = find_component(kind, name)
        near = f" (did you mean {nearest!r}?)" if nearest else ""
        tfds = f"; a data set of TFDS is name='tfds' with dataset={name!r}"
        raise ValueError(
            f"no {kind} is called {name!r}{near}"
            + (tfds if kind == "source" and name.isidentifier() else "")
            + ("" if near else f"; there are: {', '.join(sorted(table))}")
            + ", or your own as 'my_pkg.module:Name'"
        )
    module_name, _, attribute = table.get(name, name).partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = name_module(module_name)
        raise ValueError(
            f"{kind} {name!r}: expected a module as Python imports it, '{dotted}:{attribute}'"
        )
    try:
        component = getattr(_import(kind, name, module_name), attribute)
    except AttributeError:
        module = importlib.import_module(module_name)
        there = [n for n in vars(module) if not n.startswith("_")]
        near = did_you_mean(attribute, there)
        near += "" if near or not there else f"; it has: {list_names(there, most=8)}"
        if module_name == "__main__":
            near += "; it was defined in a notebook or a script: define it here before it is used"
        raise ValueError(
            f"{kind} {name!r}: module {module_name!r} has no {attribute!r}{near}"
        ) from None
    if not callable(component):
        got = type(component).__name__
        raise ValueError(f"{kind} {name!r} is a {got}; expected a class or a function")
    return component


def _import(kind: str, name: str, module: str) -> Any:
    """Imports the module of a component. What it prints goes to stderr.

    Raises:
      ValueError: naming the line of the user's that fails.
    """
    if module in sys.modules:
        return sys.modules[module]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(module)
    except (UserError, WorkError):
        raise
    except ModuleNotFoundError as e:
        raise ValueError(f"{kind} {name!r}{_explain_missing(e.name or '', module)}") from None
    except SyntaxError as e:
        where = f"{e.filename}:{e.lineno}"
        raise ValueError(f"{kind} {name!r}: syntax error at {where}: {e.msg}") from None
    except (Exception, SystemExit) as e:  # noqa: BLE001  whatever a user's file raises
        line = users_line(e)
        where = f" at {line}" if line else ""
        raise ValueError(
            f"{kind} {name!r}: the import of {module!r} failed{where}: {describe_error(e)}"
        ) from None


def _explain_missing(missing: str, module: str) -> str:
    """Says why importing `module` failed, where the module `missing` was not to be found."""
    if missing.startswith("lepton_jax."):
        return f": there is no module {missing!r}{did_you_mean(missing, _modules_of_lepton_jax())}"
    if missing and (module == missing or module.startswith(missing + ".")):
        return (
            f": there is no module {missing!r} on the Python path "
            "(the working folder, and the folders of PYTHONPATH); add the folder that holds it: "
            "PYTHONPATH=FOLDER"
        )
    return f" needs the package {missing!r}: pip install it"


def _modules_of_lepton_jax() -> list[str]:
    """Lists the modules of this package by their dotted names, without importing one."""
    package = Path(__file__).parent.parent
    files = (f.relative_to(package.parent).with_suffix("") for f in package.rglob("*.py"))
    return sorted(".".join(f.parts).removesuffix(".__init__") for f in files)
