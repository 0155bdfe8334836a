"""Every component that a config may name, and how a name becomes the component.

A value of `TABLES` is 'module:Name'; the module is imported only when the component is chosen. A
config may write its own 'my_pkg.module:Name' wherever it may write one of these names.
"""

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.config.schema import REQUIRED, Key, optax_keys, signature_keys
from lepton_jax.errors import did_you_mean

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
        "mnist1d": "lepton_jax.data.sources.mnist1d:mnist1d",
        "npz": "lepton_jax.data.sources.npz:npz",
        "parquet": "lepton_jax.data.sources.parquet:parquet",
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
        "brightness": "lepton_jax.transforms.colour:brightness",
        "contrast": "lepton_jax.transforms.colour:contrast",
        "cutmix": "lepton_jax.transforms.mix:cutmix",
        "cutout": "lepton_jax.transforms.cutout:cutout",
        "flip": "lepton_jax.transforms.geometry:flip",
        "mixup": "lepton_jax.transforms.mix:mixup",
        "pad_crop": "lepton_jax.transforms.geometry:pad_crop",
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


@dataclass(frozen=True)
class Component:
    """A component that a config chose: its kind, its name, and a value for each of its keys."""

    kind: str
    name: str
    keys: Mapping[str, Any]

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the component with its keys, and with what the harness hands over."""
        return resolve_component(self.kind, self.name)(*args, **{**self.keys, **kwargs})

    def entries(self) -> Iterator[tuple[str, Any, Key]]:
        """Yields the name and every key of the component, each with its value and declaration."""
        yield "name", self.name, Key(str, REQUIRED, ())
        declared = component_keys(self.kind, self.name)
        for name, value in self.keys.items():
            yield name, value, declared[name]

    def replace(self, values: Mapping[str, Any]) -> "Component":
        """Returns the component with other values for these keys."""
        return Component(self.kind, self.name, {**self.keys, **values})


@functools.cache
def component_keys(kind: str, name: str) -> dict[str, Key]:
    """Returns the config keys of a component. Raises `ValueError` where there is none so called."""
    component = resolve_component(kind, name)
    return optax_keys(component) if kind == "optimizer" else signature_keys(component)


def resolve_component(kind: str, name: str) -> Callable[..., Any]:
    """Imports the class or function that `name` stands for.

    Raises:
      ValueError: with a sentence saying why there is no such component.
    """
    table = TABLES[kind]
    if ":" not in name and name not in table:
        choices = ", ".join(sorted(table))
        raise ValueError(
            f"no {kind} is called {name!r}{did_you_mean(name, table)}; there are: {choices}, "
            "or your own as 'my_pkg.module:Name'"
        )
    module_name, _, attribute = table.get(name, name).partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        raise ValueError(f"{kind} {name!r}{_explain_missing(e.name or '', module_name)}") from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        near = did_you_mean(attribute, [n for n in vars(module) if not n.startswith("_")])
        raise ValueError(
            f"{kind} {name!r}: module {module_name!r} has no {attribute!r}{near}"
        ) from None


def _explain_missing(missing: str, module: str) -> str:
    """Says why importing `module` failed, where the module `missing` was not to be found."""
    if missing.startswith("lepton_jax."):
        return f": there is no module {missing!r}{did_you_mean(missing, _modules_of_lepton_jax())}"
    if missing and (module == missing or module.startswith(missing + ".")):
        return (
            f": there is no module {missing!r} on the Python path "
            "(the working folder, and the folders of PYTHONPATH)"
        )
    return f" needs the package {missing!r}: pip install it"


def _modules_of_lepton_jax() -> list[str]:
    """Lists the modules of this package by their dotted names, without importing one."""
    package = Path(__file__).parent.parent
    files = (f.relative_to(package.parent).with_suffix("") for f in package.rglob("*.py"))
    return sorted(".".join(f.parts).removesuffix(".__init__") for f in files)
