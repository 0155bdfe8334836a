"""A run of the suite as the subject of explanations."""

from pathlib import Path

import numpy as np

from lepton_jax.explanation.asked import find_present
from lepton_jax.explanation.explained import make_subject
from lepton_jax.explanation.methods import Questions, Subject
from lepton_jax.notebook.trained_model import TrainedModel
from lepton_jax.training.saved import SavedRun, load_run


def ask(workdir: Path, count: int) -> tuple[Subject, Questions, SavedRun]:
    """Returns a run as a subject, and questions about its first `count` examples of `test`."""
    saved = load_run(str(workdir))
    bundle = TrainedModel(saved)
    subject = make_subject(bundle, saved)
    fields = {name: x[:count] for name, x in bundle.examples()["inputs"].items()}
    _, present = find_present(bundle, subject.parts, fields)
    target = subject.answer(fields).argmax(-1).astype(np.int32)
    return subject, Questions(fields, present, target), saved
