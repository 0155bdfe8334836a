"""Generation: a run and its bundle write the same, beyond what the model can look back on, too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lepton_jax import api
from lepton_jax.errors import UserError
from lepton_jax.training import saved

ROOT = Path(__file__).parent.parent.parent
PROMPT = "bado k"
CONTEXT = 16


@pytest.fixture(scope="module")
def run(tiny_run):
    return str(tiny_run("shakespeare_gpt"))


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("bundle") / "gpt")
    api.export(run, out)
    return out


def test_a_run_and_its_bundle_write_the_same(run, bundle):
    said = {"prompt": PROMPT, "tokens": 3 * CONTEXT, "top_k": 8, "seed": 3}
    of_run = api.generate(workdir=run, **said)
    pieces = list(of_run.stream())
    assert "".join(pieces) == api.generate(bundle=bundle, **said).text
    assert pieces[0] == PROMPT
    assert len(pieces) == 1 + 3 * CONTEXT  # characters, each shown when it is made
    assert of_run.made == 3 * CONTEXT
    assert api.generate(workdir=run, **{**said, "seed": 4}).text != "".join(pieces)


def test_without_chance_each_token_is_the_likeliest_of_the_model_itself(run):
    trained = saved.load_run(run)
    data, variables = trained.data, trained.program.training.variables(trained.state)
    logits = jax.jit(lambda tokens: trained.program.parts.module(*variables)(tokens))
    tokens = data.encode_prompt(PROMPT)
    while len(tokens) < CONTEXT:
        # What follows changes nothing of a causal model.
        padded = tokens + [0] * (CONTEXT - len(tokens))
        tokens.append(int(logits(jnp.asarray([padded]))[0, len(tokens) - 1].argmax()))
    text = api.generate(
        workdir=run, prompt=PROMPT, tokens=CONTEXT - len(PROMPT), temperature=0.0
    ).text
    assert data.encode_prompt(text) == tokens


def test_the_command_shows_text_and_json_alone(run):
    command = [sys.executable, "launch.py", "generate", f"--workdir={run}", "--tokens=4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def said(*flags):
        return subprocess.run(
            [*command, f"--prompt={PROMPT}", *flags],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )

    shown, found = said().stdout, json.loads(said("--json").stdout)
    assert shown.startswith(found["text"] + "\n4 tokens by ")
    assert found["text"].startswith(PROMPT)
    assert len(found["tokens"]) == len(PROMPT) + 4


def test_mistakes_are_named(run, tmp_path):
    with pytest.raises(UserError, match="give one of --workdir=DIR"):
        api.generate(workdir=run, bundle="x")
    with pytest.raises(UserError, match=r"--top_p: expected float in \(0, 1\], got 1.5"):
        api.generate(workdir=run, top_p=1.5)
    with pytest.raises(UserError, match=r"--temperature: expected float >= 0, got -1"):
        api.generate(workdir=run, temperature=-1)
    api.train(f"{ROOT}/configs/mnist1d_logistic.py:tiny", str(tmp_path))
    with pytest.raises(UserError, match="signal_classification makes no texts"):
        api.generate(workdir=str(tmp_path))
