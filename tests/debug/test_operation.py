"""The operation that is named is the one that made the number."""

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.debug.operation import find_first_operations
from lepton_jax.training.functional import Functional


def test_an_infinite_constant_is_not_taken_for_the_cause():
    def loss(logits):
        probabilities = jax.nn.softmax(logits)  # its maximum begins with -inf
        return -jnp.log(probabilities * 0).sum()

    model = Functional(lambda rngs: nnx.Linear(1, 1, rngs=rngs))
    for _ in range(2):  # JAX calls an operation that it knows by another way
        (found,) = find_first_operations(
            model, lambda _: jax.grad(loss)(jnp.arange(3.0)), "inf", backward=False
        )
        assert (found.name, found.derivative) == ("log", "")
        assert found.code == "return -jnp.log(probabilities * 0).sum()"


def test_an_infinite_derivative_is_that_of_the_operation_in_the_code():
    def loss(squares):
        return (3.0 * jnp.sqrt(squares * 2.0)).sum()

    model = Functional(lambda rngs: nnx.Linear(1, 1, rngs=rngs))
    for _ in range(2):
        (found,) = find_first_operations(
            model, lambda _: jax.grad(loss)(jnp.zeros(3)), "inf", backward=False
        )
        assert found.derivative == "sqrt"
        assert "the derivative of sqrt (infinite at 0), going back through tests" in str(found)
        assert found.code == "return (3.0 * jnp.sqrt(squares * 2.0)).sum()"
