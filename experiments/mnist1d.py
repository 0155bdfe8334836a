"""MNIST-1D: which models use the order of positions, and what accuracy remains without the order?

Greydanus & Kobak (2024), Scaling down deep learning with MNIST-1D (ICML): four models with one
recipe, on the original signals and on signals whose 40 positions are shuffled in the same way in
every example. In the paper the CNN and the GRU lose their advantage over the MLP (56 and 57 against
68 %).

The MLP's tolerance is wider: the notebook of the authors' own repository ends at 65.1 % with
this model, trained on all 4,000 examples; here a tenth of them selects the best step instead.
"""

from lepton_jax.ablation import Experiment, Published, named_variants

SHUFFLED = {"data.source.shuffled": True}
CONFIGS = {
    "logistic": {"config": "mnist1d_logistic"},
    "MLP": {"config": "mnist1d_mlp"},
    "CNN": {"config": "mnist1d_cnn"},
    "GRU": {"config": "mnist1d_gru"},
}
TABLE = "Greydanus & Kobak (2024), test accuracies on MNIST-1D"


def get_experiment() -> Experiment:
    return Experiment(
        question="Which models use the order of a signal's positions?",
        config="mnist1d_mlp",
        variants=named_variants(CONFIGS)
        + named_variants({f"{name}, shuffled": {**c, **SHUFFLED} for name, c in CONFIGS.items()}),
        seeds=range(5),
        metric="accuracy",
        baseline="MLP",
        published={
            "logistic": Published(0.32, 0.02, TABLE),
            "MLP": Published(0.68, 0.05, TABLE),
            "CNN": Published(0.94, 0.02, TABLE),
            "GRU": Published(0.91, 0.02, TABLE),
        },
    )
