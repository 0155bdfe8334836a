"""What texts cost: reading by a cache, and a small GPT's training step, against PyTorch's.

`python -m benchmarks.text PAIRS` runs these alone. Comparisons with peers are made where `torch`
and `transformers` can be imported. All of a comparison happens in one process, turn about.
"""

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.pairs import Line, ratios, spread
from lepton_jax import config_file, decoding
from lepton_jax.models.transformer import Transformer
from lepton_jax.training import restore
from lepton_jax.training.runtime import runtime

LENGTH = 256
VOCABULARY = 65
SMALL: dict[str, Any] = {"layers": 4, "width": 128, "heads": 4}
LARGER: dict[str, Any] = {"layers": 6, "width": 384, "heads": 6}
"""nanoGPT's two models of characters. Reading a prefix 256 times takes the larger a minute."""
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
    keys: dict[str, Any] = {"do_sample": False, "max_new_tokens": LENGTH - 1, "pad_token_id": 0}
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
    return decoding.greedy(model.read, cache, first_B, length=LENGTH, end=None).tokens


@nnx.jit
def reread(model: Transformer) -> jax.Array:
    def step(t: Any, tokens_BT: jax.Array) -> jax.Array:
        logits_BTV = model(tokens_BT)
        return tokens_BT.at[:, t + 1].set(logits_BTV[:, t].argmax(-1).astype(jnp.int32))

    return jax.lax.fori_loop(0, LENGTH - 1, step, jnp.zeros((1, LENGTH), jnp.int32))


def writer(model: Transformer) -> Callable[[], float]:
    write(model)
    return lambda: seconds(lambda: write(model).block_until_ready())


def rereader(model: Transformer) -> Callable[[], float]:
    reread(model)
    return lambda: seconds(lambda: reread(model).block_until_ready())


def hugging_face(model: Transformer) -> Any:
    """GPT-2 of Hugging Face with the weights of `model`."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=LENGTH,
        n_embd=LARGER["width"],
        n_layer=LARGER["layers"],
        n_head=LARGER["heads"],
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = GPT2LMHeadModel(config).eval()
    named = {
        "transformer.wte.weight": model.tokens.embedding,
        "transformer.ln_f.weight": model.norm.scale,
        "transformer.ln_f.bias": model.norm.bias,
    }
    assert model.positions is not None
    named["transformer.wpe.weight"] = model.positions.embedding
    for i, block in enumerate(model.blocks):
        at = f"transformer.h.{i}."
        for theirs_norm, norm in (("ln_1", block.attention_norm), ("ln_2", block.mlp_norm)):
            named |= {f"{at}{theirs_norm}.weight": norm.scale, f"{at}{theirs_norm}.bias": norm.bias}
        qkv = [block.attention.q, block.attention.k, block.attention.v]
        for part in ("kernel", "bias"):
            suffix = "weight" if part == "kernel" else "bias"
            joined = jnp.concatenate([getattr(layer, part)[...] for layer in qkv], axis=-1)
            named[f"{at}attn.c_attn.{suffix}"] = joined
            named[f"{at}attn.c_proj.{suffix}"] = getattr(block.attention.o, part)
            named[f"{at}mlp.c_fc.{suffix}"] = getattr(block.mlp.up, part)
            named[f"{at}mlp.c_proj.{suffix}"] = getattr(block.mlp.down, part)
    state = {name: torch.from_numpy(np.array(value[...])) for name, value in named.items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert missing == ["lm_head.weight"], missing  # tied
    return theirs


def our_step() -> Callable[[], float]:
    """Seconds of the next `STEPS` steps of the recipe, on tokens made by chance."""
    source = {
        "name": "generated_tokens",
        "vocabulary": VOCABULARY,
        "length": 64,
        "examples": 4096,
    }
    config, _ = config_file.load(RECIPE)
    made = config.to_dict()
    made["data"] = {"source": source}
    from lepton_jax.validation import validate

    config = validate(made, RECIPE)
    with runtime(config.precision):
        data = restore.load_data(config)
        program = restore.program_of(config, data)
        state = jax.jit(program.init)(jnp.uint32(0), program.hyper())
        step = jax.jit(program.step, donate_argnums=0)
        tokens = jnp.asarray(data.splits["train"].columns["tokens"][: config.batch_size])
        batch = {"tokens": tokens, "position": jnp.arange(config.batch_size, dtype=jnp.int32)}
        held = {"state": state, "sums": program.empty_sums()}

    def steps() -> None:
        for _ in range(STEPS):
            held["state"], held["sums"] = step(held["state"], held["sums"], batch)
        jax.block_until_ready(held["sums"].values)

    steps()
    return lambda: seconds(steps)


def torch_step() -> Callable[[], float]:
    """The same of an equal model in PyTorch, written as nanoGPT is."""
    import torch
    from torch import nn
    from torch.nn import functional

    config, _ = config_file.load(RECIPE)
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
