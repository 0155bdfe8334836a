"""What each recipe in configs/ is to reach, and the published figure that it stands beside."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """A config, and the numbers of `results.json` that it is judged by, the first above all."""

    name: str
    path: str
    """Below configs/, with its argument; `{mnist_lenet}` is the workdir of that recipe's run."""
    metrics: tuple[str, ...]
    reaches: str
    """`>= 0.99`, `measured`, or `<= 0.5 of mnist_vae`, of that recipe's same metric."""
    published: str
    """The figure it stands beside, with its source."""
    seeds: tuple[int, ...] = (0, 1, 2)
    overrides: Mapping[str, str] = field(default_factory=dict)
    against: str = ""
    """The recipe that it is compared with, seed by seed."""

    def met(self, value: float, of_others: Mapping[str, Mapping[str, float]]) -> bool:
        sign, _, bound = self.reaches.partition(" ")
        if sign not in (">=", "<="):
            return True
        number, _, other = bound.partition(" of ")
        limit = float(number) * (of_others[other].get(self.metrics[0], 0.0) if other else 1.0)
        return value >= limit if sign == ">=" else value <= limit


_ACCURACY = ("test/accuracy",)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "mnist_lenet", "mnist_lenet.py", _ACCURACY, ">= 0.990", "0.9905, LeCun et al. 1998"
        ),
        Recipe(
            "fashion_mnist_resnet", "fashion_mnist_resnet.py", _ACCURACY, ">= 0.92",
            "0.897, Xiao et al. 2017 (classical)",
        ),
        Recipe(
            "cifar10_cnn", "cifar10_cnn.py", _ACCURACY, "measured",
            "0.8996, the article that the recipe is from",
        ),
        Recipe(
            "cifar10_fast", "cifar10_fast.py", _ACCURACY, ">= 0.8996",
            "0.941 at more than twice the width, Page 2019",
        ),
        Recipe(
            "cifar10_resnet20_short", "cifar10_resnet20.py:short", _ACCURACY, ">= 0.80",
            "none of 10 epochs", (0,),
        ),
        Recipe(
            "cifar10_resnet20", "cifar10_resnet20.py", _ACCURACY, "measured",
            "0.9125, He et al. 2015", (0,),
        ),
        Recipe(
            "cifar10_googlenet", "cifar10_googlenet.py", _ACCURACY, ">= 0.75",
            "none for CIFAR-10", (0,),
        ),
        Recipe("bccd_detector", "bccd_detector.py", ("test/map_50",), ">= 0.80", "none", (0,)),
        Recipe(
            "mnist_vae", "mnist_vae.py:{mnist_lenet}", ("test/elbo", "samples/frechet"), ">= -105",
            "none on thresholded MNIST",
        ),
        Recipe(
            "mnist_flow", "mnist_flow.py:{mnist_lenet}", ("samples/frechet",),
            "<= 0.5 of mnist_vae", "none in these features", (0,),
        ),
        Recipe("trec_cnn", "trec_cnn.py", _ACCURACY, ">= 0.895", "0.912, Kim 2014 (CNN-rand)"),
        Recipe(
            "rotten_tomatoes_cnn", "rotten_tomatoes_cnn.py", _ACCURACY, ">= 0.74",
            "0.761 of ten folds, Kim 2014 (CNN-rand)",
        ),
        Recipe(
            "sst2_lstm", "sst2_lstm.py", _ACCURACY, ">= 0.80",
            "0.875 with GloVe on the withheld test set, Tai et al. 2015",
        ),
        Recipe(
            "sst2_bert_mlm", "sst2_bert_mlm.py", ("test/loss",), "measured", "none", (0,)
        ),
        Recipe(
            "sst2_bert_small", "sst2_bert_small.py", _ACCURACY, ">= 0.80",
            "0.859 after books and Wikipedia, Turc et al. 2019",
        ),
        Recipe(
            "sst2_bert_small_pretrained", "sst2_bert_small.py", _ACCURACY, ">= 0.80",
            "0.859 after books and Wikipedia, Turc et al. 2019",
            overrides={"init_from": "{sst2_bert_mlm}"},
            against="sst2_bert_small",
        ),
        Recipe(
            "shakespeare_gpt", "shakespeare_gpt.py", ("valid/loss",), "<= 1.88",
            "1.88, nanoGPT", (0,),
        ),
        Recipe(
            "shakespeare_gpt_gpu", "shakespeare_gpt.py:gpu", ("valid/loss",), "measured",
            "1.47, nanoGPT", (0,),
        ),
        Recipe(
            "shakespeare_lstm", "shakespeare_lstm.py", ("valid/loss",), "measured",
            "none at this size", (0,),
        ),
        Recipe(
            "multi30k_transformer", "multi30k_transformer.py",
            ("test/bleu", "test/loss"), ">= 30",
            "41.0 (tokenised) for English to German, Wu et al. 2021", (0,),
        ),
        Recipe(
            "scan_simple", "scan_simple.py", ("test/sequence_accuracy",), ">= 0.98",
            "0.998, Lake & Baroni 2018", (0,),
        ),
        Recipe(
            "scan_length", "scan_length.py", ("test/sequence_accuracy",), "measured",
            "0.138, Lake & Baroni 2018", (0,),
        ),
    )
}  # fmt: skip
