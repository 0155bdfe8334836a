"""A language model of a user's own: the example of docs/extending.md is trained and exported, and
writes the same from its run as from its bundle."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.errors import UserError
from lepton_jax.export.heldout import load_test_set
from lepton_jax.training import saved

ROOT = Path(__file__).parent.parent
CONTEXT = 16
PROMPT = "bado k"

TASK = """
import jax.numpy as jnp
from lepton_jax.tasks.language_modelling import LanguageModelling


class Focal(LanguageModelling):
    def token_loss(self, logits, target, batch):
        nats = super().token_loss(logits, target, batch)
        return (1 - jnp.exp(-nats)) ** 2 * nats


class Alone:
    def __init__(self, spec):
        self.task = LanguageModelling(spec)

    def __getattr__(self, name):
        return getattr(self.task, name)
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The blocks of the page's section: the model, and the law that it holds."""
    page = (ROOT / "docs/extending.md").read_text()
    section = page.split("## A language model of your own\n")[1].split("\n## ")[0]
    model, law = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    folder = tmp_path_factory.mktemp("package")
    (folder / "attention_lm.py").write_text(model + TASK)
    sys.path.insert(0, str(folder))
    yield {"model": model, "law": law}
    sys.path.remove(str(folder))
    sys.modules.pop("attention_lm", None)


@pytest.fixture(scope="module")
def run(example, tmp_path_factory) -> str:
    workdir = str(tmp_path_factory.mktemp("run") / "w")
    lepton_jax.train(config(), workdir)
    return workdir


def config(task: str = "attention_lm:Focal", steps: int = 30) -> dict[str, Any]:
    return {
        "model": {"name": "attention_lm:AttentionLM", "width": 16},
        "task": {"name": task},
        "data": {
            "source": {"name": "generated_texts", "examples": 64},
            "tokenizer": {"name": "characters"},
            "encode": {"name": "stream", "length": CONTEXT},
        },
        "optimizer": {"name": "adam", "learning_rate": 3e-2},
        "batch_size": 8,
        "train_for": f"{steps} steps",
        "writers": {},
    }


def test_the_law_of_the_page_holds(example):
    exec(example["model"] + example["law"], {})


def test_a_run_without_context_writes_what_its_bundle_and_the_model_itself_write(run, tmp_path):
    api.export(run, str(tmp_path / "bundle"))
    assert load_test_set(tmp_path / "bundle", None) == (
        "these answers are not measured again: the data has no field 'label'"
    )
    greedy: dict[str, Any] = {"prompt": PROMPT, "tokens": CONTEXT - len(PROMPT), "temperature": 0.0}
    text = api.generate(workdir=run, **greedy).text
    assert text == api.generate(bundle=str(tmp_path / "bundle"), **greedy).text

    # Beyond the length of the training texts a bundle forgets; this run's model need not.
    more = 2 * CONTEXT
    trained = saved.load_run(run)
    module = trained.program.parts.module(*trained.program.training.variables(trained.state))
    itself = jax.jit(module)
    writer = api.generate(workdir=run, prompt=PROMPT, tokens=more, temperature=0.0)
    tokens = trained.data.encode_prompt(PROMPT)
    for count in range(len(tokens), len(tokens) + more):
        # What follows changes nothing of a causal model.
        padded = tokens + [0] * (len(PROMPT) + more - count)
        expected_V = np.asarray(itself(jnp.asarray([padded]))[0, count - 1])
        with writer.reader.running():
            np.testing.assert_allclose(writer.reader.logits(tokens), expected_V, atol=1e-4)
        tokens.append(int(expected_V.argmax()))
    assert writer.text == trained.data.decode_tokens(tokens)
    assert writer.text.startswith(text)


def test_what_is_no_language_modelling_is_named(example, tmp_path):
    lepton_jax.train(config("attention_lm:Alone", steps=1), str(tmp_path))
    with pytest.raises(UserError, match=r"Alone makes no texts.*a subclass of LanguageModelling"):
        api.generate(workdir=str(tmp_path))
