"""What texts cost: reading by a cache, and a small GPT's training step, against PyTorch's.

`python -m benchmarks.text PAIRS` runs these alone. Comparisons with peers are made where `torch`
and `transformers` can be imported. All of a comparison happens in one process, turn about.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from flax import nnx

from benchmarks.images import steps_of
from benchmarks.pairs import Line, ratios, spread
from lepton_jax.config import config_file
from lepton_jax.config.components import Component, component_keys
from lepton_jax.config.validation import validate_config
from lepton_jax.models.hugging_face.folder import write_pretrained
from lepton_jax.models.transformer import Transformer
from lepton_jax.nn import beam_search
from lepton_jax.training import saved as weights_of

LENGTH = 256
VOCABULARY = 65
SMALL: dict[str, Any] = {"layers": 4, "width": 128, "heads": 4}
LARGER: dict[str, Any] = {"layers": 6, "width": 384, "heads": 6}
"""nanoGPT's two models of characters. Reading a prefix again 256 times takes the larger minutes."""
STEPS = 10
RECIPE = "configs/shakespeare_gpt.py"


def lines(pairs: int) -> list[Line]:
    found = [cached(max(3, pairs // 4))]
    if find_spec("torch") and find_spec("transformers"):
        found += [generating(max(3, pairs // 4)), training(pairs)]
    return found


def cached(pairs: int) -> Line:
    """256 tokens by the cache, and by reading the whole prefix for each."""
    model = decoder(SMALL)
    values = ratios(writer(model), rereader(model), pairs)
    name = f"a GPT's {LENGTH} tokens, reading the prefix again over by a cache"
    return _line(name, values, 10.0, "4 layers of width 128, one text, greedy")


def generating(pairs: int) -> Line:
    """256 tokens by the cache, and by `generate` of Hugging Face with the same weights."""
    model = decoder(LARGER)
    theirs = hugging_face(model)
    import torch

    first = torch.zeros((1, 1), dtype=torch.long)
    # Without a mask the first token is taken for padding.
    mask = torch.ones_like(first)
    keys: dict[str, Any] = {"do_sample": False, "max_new_tokens": LENGTH - 1, "pad_token_id": 0}
    keys["attention_mask"] = mask
    ours = write(model)[0][: LENGTH - 1].tolist()
    said = theirs.generate(first, **keys)[0, 1:].tolist()
    same = next((i for i, (a, b) in enumerate(zip(ours, said, strict=True)) if a != b), len(said))
    values = ratios(writer(model), lambda: seconds(lambda: theirs.generate(first, **keys)), pairs)
    name = f"a GPT's {LENGTH} tokens, Hugging Face's generate over ours"
    return _line(
        name, values, 1.0, f"6 layers of width 384, the same weights; the first {same} tokens agree"
    )


def training(pairs: int) -> Line:
    """Steps of nanoGPT's recipe for a CPU, as `train` compiles them, and in PyTorch, eager."""
    ours, theirs = our_step(), torch_step()
    values = ratios(ours, theirs, pairs)
    return _line("a small GPT's training step, PyTorch's over ours", values, 1.0, "nanoGPT's size")


def decoder(shape: dict[str, Any]) -> Transformer:
    return Transformer((LENGTH, VOCABULARY), VOCABULARY, **shape, rngs=nnx.Rngs(0))


@nnx.jit
def write(model: Transformer) -> jax.Array:
    first_B = jnp.zeros(1, jnp.int32)
    cache = model.cache(1, LENGTH)
    return beam_search.greedy_tokens(model.read, cache, first_B, length=LENGTH, end=None).tokens


@nnx.jit
def reread(model: Transformer) -> jax.Array:
    def step(t: Any, tokens_BT: jax.Array) -> jax.Array:
        logits_BTV = model(tokens_BT)
        return tokens_BT.at[:, t + 1].set(logits_BTV[:, t].argmax(-1).astype(jnp.int32))

    return jax.lax.fori_loop(0, LENGTH - 1, step, jnp.zeros((1, LENGTH), jnp.int32))


def writer(model: Transformer) -> Callable[[], float]:
    write(model).block_until_ready()
    return lambda: seconds(lambda: write(model).block_until_ready())


def rereader(model: Transformer) -> Callable[[], float]:
    reread(model).block_until_ready()
    return lambda: seconds(lambda: reread(model).block_until_ready())


def hugging_face(model: Transformer) -> Any:
    """GPT-2 of Hugging Face with the weights of `model`."""
    from transformers import GPT2LMHeadModel

    _, variables = nnx.split(model)
    weights = weights_of.named_weights(nnx.to_pure_dict(variables), {})
    shape = (LENGTH, VOCABULARY)
    with tempfile.TemporaryDirectory() as folder:
        keys = {k: key.default for k, key in component_keys("model", "transformer").items()}
        chosen = Component("model", "transformer", {**keys, **LARGER})
        write_pretrained(epath.Path(folder), weights, chosen, shape, VOCABULARY, ())
        return GPT2LMHeadModel.from_pretrained(folder).eval()


def our_step() -> Callable[[], float]:
    """Seconds of the next `STEPS` steps of the recipe, on tokens made by chance."""
    source = {
        "name": "generated_tokens",
        "vocabulary": VOCABULARY,
        "length": 64,
        "examples": 4096,
    }
    made = config_file.load_config(RECIPE)[0].to_dict() | {"data": {"source": source}}
    run = steps_of(validate_config(made, RECIPE), STEPS)
    run()
    return run


def torch_step() -> Callable[[], float]:
    """The same of an equal model in PyTorch, written as nanoGPT is."""
    import torch
    from torch import nn
    from torch.nn import functional

    config, _ = config_file.load_config(RECIPE)
    keys = config.model.keys
    width, heads, length, batch = keys["width"], keys["heads"], 64, config.batch_size

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(width, bias=False)
            self.norm2 = nn.LayerNorm(width, bias=False)
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.out = nn.Linear(width, width, bias=False)
            self.up = nn.Linear(width, 4 * width, bias=False)
            self.down = nn.Linear(4 * width, width, bias=False)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(self.norm1(x)).split(width, dim=2)
            q, k, v = (
                t.view(batch, length, heads, width // heads).transpose(1, 2) for t in (q, k, v)
            )
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
            h = functional.gelu(self.up(self.norm2(x)), approximate="tanh")
            return x + self.down(h)

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, width)
            self.positions = nn.Embedding(length, width)
            self.blocks = nn.ModuleList([Block() for _ in range(keys["layers"])])
            self.norm = nn.LayerNorm(width, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.tokens(tokens) + self.positions(torch.arange(length))
            for block in self.blocks:
                x = block(x)
            return self.norm(x) @ self.tokens.weight.T

    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    tokens = torch.randint(0, VOCABULARY, (batch, length + 1))

    def steps() -> None:
        for _ in range(STEPS):
            logits = model(tokens[:, :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    steps()
    return lambda: seconds(steps)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _line(name: str, values: list[float], aim: float, detail: str) -> Line:
    median = statistics.median(values)
    return Line(
        name, spread(values), f">= {aim:g}", median >= aim, f"{detail}, {len(values)} pairs"
    )


if __name__ == "__main__":
    for line in lines(int(sys.argv[1])):
        print(f"{line.name}: {line.value} (aim {line.aim}); {line.detail}")
