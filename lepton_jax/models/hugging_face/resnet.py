"""ResNet: transformers' and timm's, whose stride is in the 3 x 3 convolution ('v1.5')."""

from collections.abc import Iterator
from typing import Any

from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.models.hugging_face.family import (
    WINDOW,
    Family,
    Keys,
    Rule,
    Rules,
    linear_rules,
    norm_rules,
)


def _conv_norm(ours: str, conv: str, batch_norm: str) -> Rules:
    yield Rule((f"{ours}.conv.kernel",), f"{conv}.weight", WINDOW)
    yield from norm_rules(f"{ours}.norm", batch_norm)
    yield Rule((f"{ours}.norm.mean",), f"{batch_norm}.running_mean")
    yield Rule((f"{ours}.norm.var",), f"{batch_norm}.running_var")


def _resnet_blocks(keys: Keys) -> Iterator[tuple[str, int, int, bool]]:
    """Yields each block: our name, its stage, its index there, whether the shortcut projects."""
    number = 0
    for stage, count in enumerate(keys["blocks"]):
        for place in range(count):
            projects = place == 0 and (stage > 0 or keys["bottleneck"])
            yield f"blocks.{number}", stage, place, projects
            number += 1


def _resnet_rules(keys: Keys) -> Rules:
    def conv_norm(ours: str, theirs: str) -> Rules:
        return _conv_norm(ours, f"{theirs}.convolution", f"{theirs}.normalization")

    yield from conv_norm("stem", "resnet.embedder.embedder")
    for ours, stage, place, projects in _resnet_blocks(keys):
        theirs = f"resnet.encoder.stages.{stage}.layers.{place}"
        for layer in range(3 if keys["bottleneck"] else 2):
            yield from conv_norm(f"{ours}.layers.{layer}", f"{theirs}.layer.{layer}")
        if projects:
            yield from conv_norm(f"{ours}.projection", f"{theirs}.shortcut")
    yield from linear_rules("head", "classifier.1")


def _timm_resnet_rules(keys: Keys) -> Rules:
    yield from _conv_norm("stem", "conv1", "bn1")
    for ours, stage, place, projects in _resnet_blocks(keys):
        theirs = f"layer{stage + 1}.{place}"
        for layer in range(3 if keys["bottleneck"] else 2):
            names = (f"{theirs}.conv{layer + 1}", f"{theirs}.bn{layer + 1}")
            yield from _conv_norm(f"{ours}.layers.{layer}", *names)
        if projects:
            names = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
            yield from _conv_norm(f"{ours}.projection", *names)
    yield from linear_rules("head", "fc")


def _resnet_follows(keys: Keys, input_shape: Any, _: Any) -> dict[str, Any]:
    expansion = 4 if keys["bottleneck"] else 1
    widths = [keys["width"] * 2**stage * expansion for stage in range(len(keys["blocks"]))]
    return {
        "hidden_sizes": widths,
        "num_channels": input_shape[-1],
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }


_RESNET_KEYS = {
    "blocks": ("depths", [3, 4, 6, 3]),
    "bottleneck": ("layer_type", "bottleneck"),
    "width": ("embedding_size", 64),
}
_TIMM = {
    "resnet18": ([2, 2, 2, 2], "basic"),
    "resnet34": ([3, 4, 6, 3], "basic"),
    "resnet50": ([3, 4, 6, 3], "bottleneck"),
    "resnet101": ([3, 4, 23, 3], "bottleneck"),
    "resnet152": ([3, 8, 36, 3], "bottleneck"),
}
"""timm's architectures that are these networks; timm's config names them without their sizes."""


def _normalize_timm(theirs: Keys) -> dict[str, Any]:
    name = theirs["architecture"]
    if name not in _TIMM:
        raise UserError(
            f"timm's {name!r} is not known here{did_you_mean(name, _TIMM)}; known are "
            + ", ".join(_TIMM)
        )
    depths, kind = _TIMM[name]
    return {**theirs, "depths": depths, "layer_type": kind}


RESNET = Family(
    model="resnet",
    model_type="resnet",
    architecture="ResNetForImageClassification",
    keys=_RESNET_KEYS,
    rules=_resnet_rules,
    follows=_resnet_follows,
    ours={"stem": "imagenet"},
    values={"bottleneck": True, "basic": False},
    base="resnet.",
    neutral=("out_features", "out_indices", "stage_names"),
    unread=r".*num_batches_tracked",
)
TIMM_RESNET = Family(
    model="resnet",
    model_type="timm",
    architecture="",
    keys=_RESNET_KEYS,
    rules=_timm_resnet_rules,
    follows=lambda keys, input_shape, outputs: {},
    ours={"stem": "imagenet"},
    values={"bottleneck": True, "basic": False},
    normalize=_normalize_timm,
    fixed={"global_pool": "avg", "model_args": {}},
    neutral=("architecture", "num_classes", "num_features", "label_names", "label_descriptions",
             "pretrained_cfg"),
    unread=r".*num_batches_tracked",
)  # fmt: skip
