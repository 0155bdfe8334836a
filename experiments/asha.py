"""Does ASHA find a better recipe than random search that trains as many steps?

The searches tune four numbers of an MLP's recipe on MNIST-1D. Random search draws 20 settings and
trains each to its end. ASHA draws 77 settings: a third of them continues after a ninth of the run,
and a third of these after a third, 20 whole runs in all. Each search selects on `valid` with one
seed; the selected settings then run with five seeds.

After: Li et al. (2020), A system for massively parallel hyperparameter tuning.
"""

from lepton_jax.ablation import (
    Experiment,
    Search,
    Variant,
    log_uniform,
    uniform,
)

SPACE = {
    "optimizer.learning_rate": log_uniform(1e-4, 1e-1),
    "optimizer.weight_decay": log_uniform(1e-4, 1.0),
    "model.dropout": uniform(0.01, 0.5),
    "task.label_smoothing": uniform(0.01, 0.3),
}


def get_experiment() -> Experiment:
    return Experiment(
        question="Does ASHA find a better recipe than random search of equal budget?",
        config="mnist1d_mlp",
        changes={"optimizer.name": "adamw", "optimizer.learning_rate": 1e-2},
        variants=[Variant("the recipe as it is")],
        searches=[
            Search(name="random search", space=SPACE, trials=20),
            Search(name="ASHA", space=SPACE, trials=77, batch=77, rungs=(1 / 9, 1 / 3)),
        ],
        seeds=range(5),
        metric="accuracy",
        baseline="random search",
    )
