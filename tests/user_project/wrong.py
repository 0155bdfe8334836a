"""Parts that a newcomer might write, each with one mistake that must be named before a step."""

import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

from lepton_jax.data.source import Source
from lepton_jax.tasks.classification import ImageClassification

# Models.


class Net(nnx.Module):
    """No mistake: one linear layer over images [B, H, W, C]."""

    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        self.head = nnx.Linear(int(np.prod(input_shape)), outputs, rngs=rngs)

    def __call__(self, x: Any, noise: Any = None) -> Any:
        return self.head(x.reshape(x.shape[0], -1))


class Convolution(nnx.Module):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jnp.ones((3, 3, input_shape[-1], outputs)))

    def __call__(self, x: Any, noise: Any = None) -> Any:
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, self.kernel[...], (1, 1), "SAME", dimension_numbers=dimensions
        )
        return y.mean((1, 2))


class NoCall(nnx.Module):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        pass


class OneArgument(Net):
    def __call__(self, x: Any) -> Any:  # type: ignore[override]
        return super().__call__(x)


class ThreeArguments(Net):
    def __call__(self, x: Any, train: Any, noise: Any = None) -> Any:  # type: ignore[override]
        return super().__call__(x)


class Raises(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        x = x.reshape(x.shape[0], -1)
        raise RuntimeError("not written yet")


class ReturnsNone(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        super().__call__(x)


class ReturnsTuple(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        y = super().__call__(x)
        return y, y


class ReturnsDict(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return {"logits": super().__call__(x)}


class WrongRank(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x)[:, None]


class WrongWidth(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x)[:, :2]


class OneRow(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x)[:1]


class Integers(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x).astype(jnp.int32)


class Complex(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x) * 1j


class PythonIf(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        if x.max() > 1:
            x = x / 255
        return super().__call__(x)


class PythonFloat(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x / float(x.max()))


class UsesNumpy(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(np.clip(np.asarray(x), 0, 1))


class Leaks(Net):
    kept: Any = None

    def __call__(self, x: Any, noise: Any = None) -> Any:
        y = super().__call__(x)
        if Leaks.kept is not None:
            y = y + Leaks.kept
        Leaks.kept = y.mean()
        return y


class WrongShapes(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return self.head(x)


class Misspelt(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        return self.haed(x)


class InitRaises(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        self.width = input_shape[5]


class ForgetsRngs(nnx.Module):
    def __init__(self, input_shape: Any, outputs: int):
        self.head = nnx.Linear(4, outputs, rngs=nnx.Rngs(0))


class OnlyKeywords(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.head = nnx.Linear(4, 4, rngs=rngs)


class OtherStream(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.key = rngs.dropout()


class ListOfModules(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.layers = [nnx.Linear(4, 4, rngs=rngs) for _ in range(2)]


class Linen(linen.Module):
    outputs: int = 4

    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.Dense(4)(x)


def linen_model(input_shape: Any, outputs: int, *, rngs: nnx.Rngs) -> Any:
    return Linen()


def no_model(input_shape: Any, outputs: int, *, rngs: nnx.Rngs) -> Any:
    Net(input_shape, outputs, rngs=rngs)


class Grows(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.seen = nnx.Variable(jnp.zeros((1,)))

    def __call__(self, x: Any, noise: Any = None) -> Any:
        self.seen.set_value(jnp.zeros((2,)))
        return super().__call__(x)


class NoGradient(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        y = super().__call__(x)
        return jax.lax.while_loop(lambda y: jnp.abs(y).max() > 1.0, lambda y: y / 2, y)


class FunctionKey(Net):
    def __init__(self, input_shape: Any, outputs: int, *, act: Any = nnx.relu, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)


class UnknownAnnotation(Net):
    def __init__(self, input_shape: Any, outputs: int, *, w: "Wdith" = 3, rngs: Any):  # noqa: F821  # type: ignore[name-defined]
        super().__init__(input_shape, outputs, rngs=rngs)


AN_INSTANCE = {"layers": 3}


# Tasks.


class NoLoss:
    input_shape, outputs, input_fields = (8, 8, 3), 4, ("image",)

    def __init__(self, spec: Any):
        pass

    def predict(self, model: Any, batch: Any) -> Any:
        return {}

    def metrics(self) -> Any:
        return {}


class NoSpec(ImageClassification):
    def __init__(self) -> None:
        pass


class TaskInitRaises(ImageClassification):
    def __init__(self, spec: Any):
        super().__init__(spec)
        self.mean = spec.mean


class PerExample(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return self.example_loss(self.logits(model, batch, noise)[0], batch)


class LossArray(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return super().loss(model, batch, noise)["loss"][0]


class LossOfFloats(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return {"loss": super().loss(model, batch, noise)["loss"][0]}


class NoLossKey(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return {"nll": super().loss(model, batch, noise)["loss"]}


class LossNone(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        super().loss(model, batch, noise)


class ComplexLoss(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        total, weight = super().loss(model, batch, noise)["loss"]
        return {"loss": (total * 1j, weight)}


class WrongField(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return {"loss": (batch["labels"].sum(), batch["mask"].sum())}


class LossArity(ImageClassification):
    def loss(self, model: Any, batch: Any) -> Any:  # type: ignore[override]
        return super().loss(model, batch, None)


class Mean(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        sums = super().loss(model, batch, noise)
        return {name: (total / weight, jnp.ones(())) for name, (total, weight) in sums.items()}


class ForgetsMask(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        logits_BK = self.logits(model, batch, noise)[0]
        batch = {**batch, "target_share": jax.nn.one_hot(batch["label"], self.outputs)}
        return {"loss": (self.example_loss(logits_BK, batch).sum(), batch["mask"].sum())}


class Pairs(ImageClassification):
    """Contrasts each row with the others of its batch."""

    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        x_BK = self.logits(model, batch, noise)[0]
        both_BB = batch["mask"][:, None] * batch["mask"]
        return {"loss": ((x_BK @ x_BK.T * both_BB).sum(), batch["mask"].sum())}


class PredictsTuple(ImageClassification):
    def predict(self, model: Any, batch: Any) -> Any:
        return tuple(super().predict(model, batch).values())


class PredictsMean(ImageClassification):
    def predict(self, model: Any, batch: Any) -> Any:
        out = super().predict(model, batch)
        return {**out, "mean": out["probabilities"].mean(0)}


class SurpriseScalar(ImageClassification):
    def surprise(self, outputs: Any, batch: Any) -> Any:
        return super().surprise(outputs, batch).sum()


class MetricsList(ImageClassification):
    def metrics(self) -> Any:
        return [Accuracy(())]


class LossesRow(ImageClassification):
    def example_loss(self, logits: Any, batch: Any) -> Any:
        return super().example_loss(logits, batch).mean()


class LossesColumn(ImageClassification):
    def example_loss(self, logits: Any, batch: Any) -> Any:
        return super().example_loss(logits, batch)[:, None]


# Metrics.


class Accuracy:
    """No mistake."""

    def __init__(self, classes: Any):
        pass

    def sums(self, outputs: Any, batch: Any) -> Any:
        right_B = outputs["label"] == batch["label"]
        return {"right": (right_B * batch["mask"]).sum(), "count": batch["mask"].sum()}

    def results(self, sums: Any) -> Any:
        return {"mine": float(sums["right"] / sums["count"])}


class NoInit:
    def sums(self, outputs: Any, batch: Any) -> Any:
        return {"n": batch["mask"].sum()}

    def results(self, sums: Any) -> Any:
        return {"n": 0.0}


class NoClasses(Accuracy):
    def __init__(self) -> None:
        pass


class SumsArity(Accuracy):
    def sums(self, outputs: Any) -> Any:  # type: ignore[override]
        return {}


class UnknownOutput(Accuracy):
    def sums(self, outputs: Any, batch: Any) -> Any:
        return {"right": outputs["labels"].sum(), "count": batch["mask"].sum()}


class UnknownField(Accuracy):
    def sums(self, outputs: Any, batch: Any) -> Any:
        return {"right": batch["labels"].sum(), "count": batch["mask"].sum()}


class ReturnsMean(Accuracy):
    def sums(self, outputs: Any, batch: Any) -> Any:
        sums = super().sums(outputs, batch)
        return {"right": sums["right"] / sums["count"], "count": jnp.ones(())}


class MeanOfAll(Accuracy):
    def sums(self, outputs: Any, batch: Any) -> Any:
        return {"right": (outputs["label"] == batch["label"]).sum(), "count": batch["mask"].sum()}


class DividesByMask(Accuracy):
    def sums(self, outputs: Any, batch: Any) -> Any:
        mask_B = batch["mask"]
        score_B = outputs["probabilities"].max(-1)
        return {"right": (score_B * mask_B / mask_B).sum(), "count": mask_B.sum()}


class SumsArray(Accuracy):
    def sums(self, outputs: Any, batch: Any) -> Any:
        return {"right": outputs["label"] == batch["label"], "count": batch["mask"]}


class ResultsFloat(Accuracy):
    def results(self, sums: Any) -> Any:
        return float(sums["right"] / sums["count"])


class ResultsRaises(Accuracy):
    def results(self, sums: Any) -> Any:
        return {"mine": sums["rights"]}


class ResultsSet(Accuracy):
    def results(self, sums: Any) -> Any:
        return {"mine": {1, 2}}


class ResultsJax(Accuracy):
    """No mistake: a number of JAX is a number."""

    def results(self, sums: Any) -> Any:
        return {"mine": jnp.float32(sums["right"]) / sums["count"]}


class ResultsLoss(Accuracy):
    def results(self, sums: Any) -> Any:
        return {"loss": 0.0}


class Ranks:
    """No mistake: it needs a row at least."""

    def __init__(self, classes: Any):
        pass

    def gathered(self, outputs: Any, batch: Any) -> Any:
        return {"p": outputs["probabilities"], "label": batch["label"]}

    def results(self, rows: Any) -> Any:
        return {"hardest": int(rows["p"].max(-1).argmin())}


class NeedsTwoClasses(Ranks):
    """No mistake: areas under curves need examples of two classes."""

    def results(self, rows: Any) -> Any:
        if len(set(rows["label"].tolist())) < 2:
            raise ValueError("only one class present")
        if not np.allclose(rows["p"].sum(-1), 1, atol=1e-3):
            raise ValueError("expected probabilities that add up to 1")
        return {"area": 0.5}


class GatheredScalar(Ranks):
    def gathered(self, outputs: Any, batch: Any) -> Any:
        return {"p": outputs["probabilities"].max()}


class GatheredRaises(Ranks):
    def results(self, rows: Any) -> Any:
        return {"hardest": rows["q"]}


# Device transforms.


def halves(batch: Any, noise: Any) -> Any:
    return {k: v[::2] for k, v in batch.items()}


def transform_none(batch: Any, noise: Any) -> Any:
    dict(batch)


def transform_image(batch: Any, noise: Any) -> Any:
    return batch["image"] / 255


def drops_label(batch: Any, noise: Any) -> Any:
    return {k: v for k, v in batch.items() if k != "label"}


def transform_raises(batch: Any, noise: Any) -> Any:
    return {**batch, "image": batch["image"].reshape(3, 5)}


def no_noise(batch: Any) -> Any:
    return batch


# Host transforms.


def host_none(element: Any) -> Any:
    dict(element)


def host_raises(element: Any) -> Any:
    if element["label"] == 2:
        raise ValueError("a bad example")
    return element


def host_dtype(element: Any) -> Any:
    image = element["image"]
    return {**element, "image": image if element["label"] else image.astype(np.float32)}


def host_mutates(element: Any) -> Any:
    """No mistake as far as numbers go: the source's array stays as it was."""
    element["image"] //= 2
    return element


def host_exits(element: Any) -> Any:
    sys.exit(3)


# Sources.


def _examples(count: int = 24) -> list[dict[str, Any]]:
    images = np.arange(count * 64, dtype=np.uint8).reshape(count, 8, 8, 1)
    return [{"image": images[i], "label": i % 3} for i in range(count)]


def _source(train: Any, classes: Any = ("a", "b", "c"), **more: Any) -> Source:
    splits = {"train": train, "valid": _examples(), **more}
    return Source(splits, classes, f"{id(train)}", "examples of a user")


def tiny() -> Any:
    """No mistake."""
    return _source(_examples())


class _Wrong(list):
    pass


def longer_than_it_is() -> Any:
    class Longer(_Wrong):
        def __len__(self) -> int:
            return 30

    return _source(Longer(_examples()))


def other_keys() -> Any:
    return _source([*_examples(), {"image": _examples()[0]["image"]}])


def label_beyond() -> Any:
    return _source([*_examples(), {**_examples()[0], "label": 3}])


def float_labels() -> Any:
    return _source([{**e, "label": float(e["label"])} for e in _examples()])


def tuples() -> Any:
    return _source([(e["image"], e["label"]) for e in _examples()])


def no_length() -> Any:
    class Split:
        def __getitem__(self, i: int) -> Any:
            return _examples()[i]

    return _source(Split())


def generator() -> Any:
    def examples() -> Iterator[Any]:
        yield from _examples()

    return _source(examples())


def raises_inside() -> Any:
    class Split(_Wrong):
        def __getitem__(self, i: Any) -> Any:
            return {"image": list.__getitem__(self, i)["img"]}

        def origin(self, i: int) -> str:
            return f"photos/{i}.png"

    return _source(Split(_examples()))


def list_of_classes() -> Any:
    """No mistake: a list is a tuple enough."""
    return _source(_examples(), classes=["a", "b", "c"])


def no_splits() -> Any:
    return Source({}, ("a", "b"), "none", "nothing")


def splits_of_lists() -> Any:
    return Source(_examples(), ("a", "b", "c"), "list", "a list of examples")  # type: ignore[arg-type]


def source_raises() -> Any:
    return _source(open("no/such/file.npy"))


def empty_train() -> Any:
    return _source([])


# Optimizers and schedules.


def no_optimizer(learning_rate: Any) -> Any:
    return lambda grads: grads


def needs_value(learning_rate: Any) -> optax.GradientTransformationExtraArgs:
    def update(updates: Any, state: Any, params: Any = None, *, value: Any, grad: Any) -> Any:
        return updates, state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


def other_updates(learning_rate: Any) -> optax.GradientTransformation:
    return optax.GradientTransformation(lambda params: (), lambda g, s, p=None: (g["head"], s))


def growing_state(learning_rate: Any) -> optax.GradientTransformation:
    return optax.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, (*s, 1)))


def optimizer_raises(learning_rate: Any) -> Any:
    return optax.sgd(learning_rates=learning_rate)  # type: ignore[call-arg]


def schedule_number(total: int, steps: Any) -> Any:
    return 0.5


def schedule_text(total: int, steps: Any) -> Any:
    return lambda step: "fast"


def schedule_array(total: int, steps: Any) -> Any:
    return lambda step: jnp.ones(3)


def schedule_nan(total: int, steps: Any) -> Any:
    return lambda step: jnp.log(-1.0 - step)


def schedule_if(total: int, steps: Any) -> Any:
    return lambda step: 1.0 if step < 10 else 0.1


def schedule_arity(total: int) -> Any:
    return lambda step: 1.0


# More models.


class IntegerParameter(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.count = nnx.Param(jnp.zeros((), jnp.int32))


class NeedsNoise(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        noise()
        return super().__call__(x)


class HalfState(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.mean = nnx.Variable(jnp.zeros(3))

    def __call__(self, x: Any, noise: Any = None) -> Any:
        y = super().__call__(x)
        self.mean[...] = y.mean(0).astype(jnp.bfloat16)
        return y


class NewVariable(Net):
    def __call__(self, x: Any, noise: Any = None) -> Any:
        self.cache = nnx.Variable(x.mean())
        return super().__call__(x)


class CountsRows(Net):
    """No mistake for training: a bundle's batch axis has no number."""

    def __call__(self, x: Any, noise: Any = None) -> Any:
        return self.head(x.reshape(len(x), -1))


class Shares(Net):
    """No mistake: two layers share their weights."""

    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.again = self.head

    def __call__(self, x: Any, noise: Any = None) -> Any:
        return super().__call__(x) + self.again(x.reshape(x.shape[0], -1))


class KeepsInput(Net):
    """Keeps what it was given in a global, which a second trace reads."""

    def __call__(self, x: Any, noise: Any = None) -> Any:
        seen = globals().setdefault("_SEEN", [])
        y = super().__call__(x + (seen[-1] if seen else 0))
        seen.append(x)
        return y


class TiedName(Net):
    def __init__(self, input_shape: Any, outputs: int, *, rngs: nnx.Rngs, depth: "int" = "two"):  # type: ignore[assignment]
        super().__init__(input_shape, outputs, rngs=rngs)


# More tasks.


class OnlyPredicts(ImageClassification):
    """Has no metric and ranks nothing, so that no evaluation predicts."""

    surprise = None  # type: ignore[assignment]

    def metrics(self) -> Any:
        return {}

    def predict(self, model: Any, batch: Any) -> Any:
        return {"top": self.logits(model, batch, None)[0].argmax()}


class SameName(ImageClassification):
    def metrics(self) -> Any:
        return {**super().metrics(), "mine": _Again(())}


class _Again(Accuracy):
    def results(self, sums: Any) -> Any:
        return {"accuracy": 1.0}


class Steps:
    """Takes its own steps; what `update` returns is the mistake."""

    def __init__(self, spec: Any):
        self._task = ImageClassification(spec)
        self.input_shape, self.outputs = self._task.input_shape, self._task.outputs
        self.input_fields, self.metrics = ("image",), self._task.metrics
        self.loss, self.predict = self._task.loss, self._task.predict

    def init(self, tools: Any, key: Any) -> Any:
        params, rest = tools.init_model(key)
        return {"params": params, "rest": rest}

    def variables(self, state: Any) -> Any:
        return state["params"], state["rest"]

    def update(self, tools: Any, state: Any, batch: Any) -> Any:
        return state, {"loss": (jnp.zeros(()), jnp.ones(()))}


class StepsNoSums(Steps):
    def update(self, tools: Any, state: Any, batch: Any) -> Any:
        return state


class StepsOfMeans(Steps):
    def update(self, tools: Any, state: Any, batch: Any) -> Any:
        return state, {"loss": jnp.zeros(())}


class StepsLosesState(Steps):
    def update(self, tools: Any, state: Any, batch: Any) -> Any:
        return {"params": state["params"]}, {"loss": (jnp.zeros(()), jnp.ones(()))}


class StepsWithoutVariables(Steps):
    def variables(self, state: Any) -> Any:
        return state["params"]


class StepsRaise(Steps):
    def update(self, tools: Any, state: Any, batch: Any) -> Any:
        return state["generator"], {}


# What breaks while a run trains.


class FailsLate(Accuracy):
    """Fails on the sums of a whole split."""

    def results(self, sums: Any) -> Any:
        if sums["count"] > 2:
            raise ValueError("too many")
        return super().results(sums)
