"""The recipe that training is tested on."""

from tests.training.conftest import recipe  # noqa: F401
