"""A split of labels and answers, and what a metric makes of it batch by batch."""

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = tuple("abcdefg")
K, EXAMPLES = len(CLASSES), 101  # a prime: no batch size divides it


def split(seed, absent=()):
    """Draws labels and probabilities of a split in which the classes `absent` never occur."""
    rng = np.random.default_rng(seed)
    present = np.array([k for k in range(K) if k not in absent])
    label = rng.choice(present, EXAMPLES).astype(np.int32)
    logits = rng.normal(size=(EXAMPLES, K)) + 1.5 * np.eye(K)[label]
    logits[:, list(absent)] = -9
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return label, probabilities.astype(np.float32)


def evaluate(metric, label, probabilities, batch_size):
    """Measures a metric as the evaluation does: in batches of one size, the last one padded with
    masked examples.
    """
    total = None
    sums_of = jax.jit(metric.sums)
    for start in range(0, len(label), batch_size):
        index = np.arange(start, start + batch_size)
        mask = (index < len(label)).astype(np.float32)
        index = np.minimum(index, len(label) - 1)
        outputs = {
            "probabilities": jnp.asarray(probabilities[index]),
            "label": jnp.asarray(probabilities[index].argmax(-1).astype(np.int32)),
        }
        sums = sums_of(outputs, {"label": jnp.asarray(label[index]), "mask": jnp.asarray(mask)})
        sums = {name: np.asarray(value, np.float64) for name, value in sums.items()}
        total = sums if total is None else {name: total[name] + sums[name] for name in sums}
    return metric.results(total)
