"""Names that experiment files of version 0.1 import from here; new files use `lepton_jax.ablation`.

An experiment goes on by the file that it began with, so these names stay.
"""

from lepton_jax.ablation.question.experiment import (
    Distribution,
    Experiment,
    Published,
    Search,
    Variant,
    choice,
    grid,
    integer,
    log_uniform,
    one_at_a_time,
    uniform,
)
from lepton_jax.ablation.question.experiment import cross_variants as crossed
from lepton_jax.ablation.question.experiment import named_variants as listed
from lepton_jax.ablation.question.experiment import sample_variants as sampled
from lepton_jax.ablation.question.experiment import tune_variants as tuned
from lepton_jax.ablation.question.experiment import zip_variants as zipped

__all__ = [
    "Distribution",
    "Experiment",
    "Published",
    "Search",
    "Variant",
    "choice",
    "crossed",
    "grid",
    "integer",
    "listed",
    "log_uniform",
    "one_at_a_time",
    "sampled",
    "tuned",
    "uniform",
    "zipped",
]
