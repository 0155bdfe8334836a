"""One training step of our CNN against the same network in plain Flax, on CPU.

Conv 32 - pool - Conv 64 - pool - Dense 64 - Dense 10 on 32 x 32 x 3, batch 64, Adam. Both steps are
written alike (module split once, jit, donated state), so that convolution and pooling are what
differs. The allocator belongs to the process, hence a process each: ours as `train` runs it, Flax
with the same allocator settings, and Flax as it comes. They take turns, one at a time, and the
ratio is the median over pairs of neighbours.
"""

import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.pairs import Line, spread

STEPS = 10
BATCH = 64
TARGET = 3.0

WORKERS = {"ours": ("ours", "tuned"), "flax": ("flax", "tuned"), "untuned": ("flax", "default")}


def lines(pairs: int) -> list[Line]:
    command = [sys.executable, "-m", "benchmarks.seed_cnn"]
    workers = {
        name: subprocess.Popen(
            [*command, *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, how in WORKERS.items()
    }
    try:
        for worker in workers.values():
            measure(worker)  # compiled and warm
        rounds = [{n: measure(w) for n, w in workers.items()} for _ in range(pairs)]
    finally:
        for worker in workers.values():
            worker.kill()
    found = []
    for peer, what in (("flax", "the same allocator settings"), ("untuned", "as it comes")):
        values = [r[peer] / r["ours"] for r in rounds]
        median = statistics.median(values)
        ms = {n: statistics.median(r[n] for r in rounds) for n in (peer, "ours")}
        detail = f"{ms[peer]:.1f} ms against {ms['ours']:.1f} ms, {pairs} pairs"
        name = f"steps/s of the seed CNN over plain Flax, {what}"
        found.append(Line(name, spread(values), f">= {TARGET:g}", median >= TARGET, detail))
    return found


def measure(worker: Any) -> float:
    """Milliseconds a step, of the next `STEPS` steps of a worker."""
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def work(model: str, allocator: str) -> None:
    """Takes `STEPS` steps for each line read and answers with milliseconds a step."""
    if allocator == "tuned":
        from lepton_jax.memory import tune_allocator

        tune_allocator()
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    make = {"ours": our_cnn, "flax": flax_cnn}[model]
    graph, params, _ = nnx.split(make(), nnx.Param, ...)
    params = nnx.to_pure_dict(params)
    optimizer = optax.adam(1e-3)
    state = (params, optimizer.init(params))

    @jax.jit
    def batch_of(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        image_key, label_key = jax.random.split(key)
        images = jax.random.uniform(image_key, (BATCH, 32, 32, 3))
        return images, jax.random.randint(label_key, (BATCH,), 0, 10)

    def step(state: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, jax.Array]:
        def loss_of(params: Any) -> jax.Array:
            logits = nnx.merge(graph, params, {})(images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        params, moments = state
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, moments = optimizer.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    compiled = jax.jit(step, donate_argnums=0)
    images, labels = batch_of(jax.random.key(0))
    state, loss = compiled(state, images, labels)
    for _ in sys.stdin:
        jax.block_until_ready(loss)
        start = time.perf_counter()
        for _ in range(STEPS):
            state, loss = compiled(state, images, labels)
        jax.block_until_ready((state, loss))
        print(1e3 * (time.perf_counter() - start) / STEPS, flush=True)
    assert jnp.isfinite(loss)


def our_cnn() -> Any:
    from flax import nnx

    from lepton_jax.models.cnn import CNN

    keys: Any = dict(features=(32, 64), hidden=64, padding="VALID")
    return CNN((32, 32, 3), 10, **keys, rngs=nnx.Rngs(0))


def flax_cnn() -> Any:
    import jax
    from flax import nnx

    class FlaxCNN(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.conv1 = nnx.Conv(3, 32, (3, 3), padding="VALID", rngs=rngs)
            self.conv2 = nnx.Conv(32, 64, (3, 3), padding="VALID", rngs=rngs)
            self.hidden = nnx.Linear(6 * 6 * 64, 64, rngs=rngs)
            self.head = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
            x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
            return self.head(nnx.relu(self.hidden(x.reshape(x.shape[0], -1))))

    return FlaxCNN(nnx.Rngs(0))


if __name__ == "__main__":
    work(*sys.argv[1:])
