"""Experiments: a question, the trials that answer it, and what may be said of their results.

An experiment file writes `from lepton_jax.ablation import Experiment, grid`. The rooms, each of
which imports only those before it:

    question/    what varies, and the trials that come of it
    workdir.py   where a trial's record lies, and what has become of the trial
    run/         packs of trials, run at once as lanes of one program
    analysis/    the outcomes, their statistics, and the answer in words
    report/      the report's files, and `watch`
    ablate.py    from the question to the report; dry_run.py and reproduce.py beside it
"""

from lepton_jax.ablation.question.experiment import (
    Distribution,
    Experiment,
    Published,
    Search,
    Variant,
    choice,
    cross_variants,
    grid,
    integer,
    log_uniform,
    named_variants,
    one_at_a_time,
    sample_variants,
    tune_variants,
    uniform,
    zip_variants,
)

__all__ = [
    "Distribution",
    "Experiment",
    "Published",
    "Search",
    "Variant",
    "choice",
    "cross_variants",
    "grid",
    "integer",
    "log_uniform",
    "named_variants",
    "one_at_a_time",
    "sample_variants",
    "tune_variants",
    "uniform",
    "zip_variants",
]
