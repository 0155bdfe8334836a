"""A task of a user's own: a number is guessed from other numbers of a table."""

import jax.numpy as jnp


class R2:
    """The share of the variance that is explained."""

    def __init__(self, classes):
        pass

    def sums(self, outputs, batch):
        y, count = batch["target"], batch["mask"]
        parts = {"n": 1.0, "y": y, "yy": y**2, "errors": (outputs["target"] - y) ** 2}
        return {name: (part * count).sum() for name, part in parts.items()}

    def results(self, sums):
        spread = sums["yy"] - sums["y"] ** 2 / sums["n"]
        return {"r2": float(1 - sums["errors"] / spread)}


class Regression:
    """Fields: `inputs` and `target`, float32 [B]. The squared error of the target."""

    def __init__(self, spec, *, inputs: tuple[str, ...]):
        for name in (*inputs, "target"):
            spec.require("regression", name, 0, "float")
        self.input_fields = inputs
        self.input_shape, self.outputs = (len(inputs),), 1

    def predict(self, model, batch, noise=None):
        x = jnp.stack([batch[name] for name in self.input_fields], axis=-1)
        return {"target": model(x, noise)[:, 0]}

    def surprise(self, outputs, batch):
        return (outputs["target"] - batch["target"]) ** 2

    def loss(self, model, batch, noise):
        errors = self.surprise(self.predict(model, batch, noise), batch)
        return {"loss": ((errors * batch["mask"]).sum(), batch["mask"].sum())}

    def metrics(self):
        return {"r2": R2(())}


class Confused(Regression):
    answer = "clas"


class Fragile(Regression):
    def metrics(self):
        return {"broken": Broken(())}


class Broken(R2):
    def results(self, sums):
        raise ZeroDivisionError("nobody was measured")
