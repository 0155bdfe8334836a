"""What the machine refuses is said in a sentence, with what helps."""

from jax.errors import JaxRuntimeError

from lepton_jax.cli.failures import explain_failure
from lepton_jax.errors import WorkError


def test_a_device_without_memory_is_told_with_what_takes_less():
    said = explain_failure(
        JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nx")
    )
    assert isinstance(said, WorkError)
    first, cures, plan = str(said).splitlines()
    assert first == "the device gave up: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."
    assert "a larger accumulate, a smaller batch_size" in cures
    assert plan.endswith("plan --config=...")


def test_a_lost_connection_is_not_told_as_want_of_memory():
    said = explain_failure(JaxRuntimeError("UNAVAILABLE: the socket is closed"))
    assert str(said) == "the device gave up: UNAVAILABLE: the socket is closed"
