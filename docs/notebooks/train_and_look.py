# %% [markdown]
# # Train, and look
#
# A recipe becomes a run, and the run is a Python object: its curves, its results, its model and its
# answers. One import is enough.

# %% parameters
import lepton_jax as lj

RECIPE = "digits_cnn"  # 1,797 real images of digits, 8 x 8
SHORT = {"train_for": "6 epochs"}

# %% [markdown]
# Without a workdir the record goes to a new folder: `runs/digits_cnn-1`, `runs/digits_cnn-2` ...

# %%
run = lj.train(RECIPE, overrides=SHORT)

# %%
run

# %% [markdown]
# What was logged is a pandas DataFrame; where pandas is not installed, a dict of columns.

# %%
list(run.metrics)

# %%
run.history

# %% [markdown]
# Answers of the best checkpoint. `examples` are those of `test`, with the truth beside; arrays,
# images, files and texts are answered too.

# %%
run.predict(examples=12)

# %%
images = run.data.splits["test"].columns["image"]
answers = run.predict(images[:100])
answers.outputs["probabilities"].max(-1).mean()

# %% [markdown]
# Another split is measured by the same code as `test` was.

# %%
run.evaluate("valid")

# %% [markdown]
# The model is a Flax NNX module with the weights of the best checkpoint. `prepare` does what the
# config's `data.prepare` says.

# %%
x = run.prepare({"image": images[:4]})["image"]
run.module(x).shape

# %% [markdown]
# A changed number is another run. `fresh=True` makes a folder beside the first one.

# %%
other = lj.train(
    RECIPE, run.workdir, overrides={**SHORT, "optimizer.learning_rate": 5e-3}, fresh=True
)

# %%
lj.runs("runs", columns=["name", "optimizer.learning_rate", "test/accuracy"])

# %% [markdown]
# Later, in another kernel: `run = lj.load("runs/digits_cnn-1")`. `step="last"` takes the last
# checkpoint in place of the best one.

# %%
lj.load(run.workdir, step="last").checkpoint
