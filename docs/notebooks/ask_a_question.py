# %% [markdown]
# # Ask a question
#
# How does the accuracy depend on the learning rate? Six runs answer: two rates, three seeds. They
# share one compiled program.

# %% parameters
import lepton_jax as lj

RECIPE = "digits_cnn"
SHORT = {"train_for": "2 epochs", "schedule.warmup": "20 steps"}

# %%
result = lj.ablate(
    "runs/rates",
    config=RECIPE,
    overrides=SHORT,
    vary={"optimizer.learning_rate": [3e-4, 3e-3]},
    seeds=3,
    metric="accuracy",
)
result

# %% [markdown]
# The same call goes on with what is left: with more seeds, only the added ones are trained.
# The page `report.html` shows the curves, the intervals and a table for a paper.

# %%
result.report

# %% [markdown]
# Every trial has a record of its own, as any run.

# %%
table = lj.runs("runs/rates", columns=["name", "optimizer.learning_rate", "seed", "test/accuracy"])
table

# %%
best = max(table.rows, key=lambda row: row["test/accuracy"])
trial = lj.load(f"runs/rates/{best['name']}")
trial.history

# %%
trial
