"""Host pipelines of tests, from their text."""

from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.validation import parse_pipeline


def read(text: str) -> Pipeline:
    """Reads host transforms as `data.decode` does."""
    return parse_pipeline("host transform", text)
