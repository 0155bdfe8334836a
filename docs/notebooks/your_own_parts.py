# %% [markdown]
# # Your own model, loss and data
#
# A config names its parts, and a part may be the class or function itself. One that is defined in a
# notebook is found in this notebook alone. Put it in a module, `my_pkg/parts.py`, as soon as other
# processes need it: `ablate` with several workers, the command line, another notebook.

# %% parameters
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lepton_jax as lj
from lepton_jax.config.schema import Rate, Strength
from lepton_jax.data.source import Columns, Source
from lepton_jax.nn.layers import Dropout
from lepton_jax.tasks.classification import SignalClassification

EXAMPLES, LENGTH = 2_000, "300 steps"

# %% [markdown]
# **Data** are a function that returns named splits. The last argument is a fingerprint, which must
# change when the data change.


# %%
def rings(*, examples: int = 1_000, noise: float = 0.3) -> Source:
    """Points of three rings around the origin."""

    def draw(seed: int, count: int) -> Columns:
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 3, count).astype(np.int32)
        angle, radius = rng.uniform(0, 2 * np.pi, count), 1 + label + noise * rng.normal(size=count)
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
        return Columns({"signal": points.astype(np.float32), "label": label})

    splits = {"train": draw(0, examples), "test": draw(1, examples // 4)}
    return Source(splits, ("inner", "middle", "outer"), f"rings {examples} {noise}", "rings")


# %% [markdown]
# **A model** is a Flax NNX module. Its keyword-only parameters are its keys in a config.


# %%
class Net(nnx.Module):
    def __init__(self, input_shape, outputs, *, width: int = 32, dropout: Rate = 0.0, rngs):
        self.a = nnx.Linear(*input_shape, width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.b = nnx.Linear(width, outputs, rngs=rngs)

    def __call__(self, x, noise=None):  # noise is None in an evaluation
        return self.b(self.dropout(nnx.relu(self.a(x)), noise))


# %% [markdown]
# **A loss** of your own is a task that differs in `example_loss`: logits `[B, K]` in, the loss of
# each example `[B]` out. Masks, label smoothing, mixed examples and the mean stay the task's.


# %%
class Focal(SignalClassification):
    """Lin et al. (2017): examples that are right already count less."""

    def __init__(self, spec, *, label_smoothing: Rate = 0.0, gamma: Strength = 2.0):
        super().__init__(spec, label_smoothing=label_smoothing)
        self.gamma = gamma

    def example_loss(self, logits, batch):
        nats = super().example_loss(logits, batch)
        return (1 - jnp.exp(-nats)) ** self.gamma * nats


# %%
config = dict(
    model=dict(name=Net, width=64),
    task=dict(name=Focal, gamma=1.5),
    data=dict(source=dict(name=rings, examples=EXAMPLES)),
    optimizer=dict(name="adam", learning_rate=1e-2),
    train_for=LENGTH,
    batch_size=64,
)
run = lj.train(config)
run

# %% [markdown]
# A misspelt key is an error, with the nearest name.

# %%
try:
    lj.train(config, overrides={"task.gama": 1.0})
except lj.UserError as error:
    print(error)

# %% [markdown]
# **A loop of your own** takes data, step and record as parts. As it stands it computes what `train`
# does, to the bit, and its record is that of any run.

# %%
loop = lj.build_loop(config)
state = loop.init()
with loop.open_record("runs/mine") as record:
    for k in range(loop.total_steps):
        state, sums = loop.step(state, loop.batch(k))
        if (k + 1) % 50 == 0 or k + 1 == loop.total_steps:
            record.log(k + 1, loop.means(sums))
            record.log(k + 1, {"valid": loop.evaluate(state)})
    record.save(k + 1, state)

# %%
mine = lj.load("runs/mine")
jax.tree.all(jax.tree.map(jnp.array_equal, mine.params, lj.load(run.workdir, step="last").params))
