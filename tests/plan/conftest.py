"""The small recipe of the training tests."""

from tests.training.conftest import recipe  # noqa: F401
