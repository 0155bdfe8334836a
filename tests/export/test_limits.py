"""A program that nobody has tried runs first in a process of its own, with limits."""

import json

import jax
import jax.numpy as jnp
import pytest

from lepton_jax.commands.predict import predict
from lepton_jax.errors import WorkError
from lepton_jax.export.verify import verify_bundle
from lepton_jax.isolation import clean_process, tried
from lepton_jax.serving import loader
from tests.graduation import rewrite_manifest
from tests.serving.test_programs import put_program


def answers_by(score):
    """A forward pass that answers what `score` makes of an image [B, 64]."""

    def forward(weights, inputs):
        y = score(inputs["image"].reshape(-1, 64).astype(jnp.float32))
        return {"probabilities": y, "label": y.argmax(-1).astype(jnp.int32)}

    return forward


def take_memory(x):
    much = jnp.broadcast_to(x.sum(), (1 << 18, 1 << 16)) + jnp.arange(1 << 16)  # 64 GiB
    return x[:, :10] + jnp.sort(much, 0)[-1, :10]


def never_end(x):
    return jax.lax.while_loop(lambda y: y[0, 0] >= 0, lambda y: jnp.abs(y) + 1, x)[:, :10]


def test_program_that_takes_the_memory_is_refused_before_it_runs_here(bundle, monkeypatch):
    monkeypatch.setattr(clean_process, "MEMORY", 2 << 30)
    put_program(bundle, answers_by(lambda x: x[:, :10]))
    predict(bundle=str(bundle), examples=1, program="stablehlo")  # an honest one needs less
    put_program(bundle, answers_by(take_memory))
    with pytest.raises(WorkError, match=r"did not answer in a process of its own: .*(emory|SIG)"):
        predict(bundle=str(bundle), examples=1, program="stablehlo")


@pytest.mark.slow
def test_program_that_never_ends_is_stopped(bundle, monkeypatch):
    monkeypatch.setattr(tried, "SECONDS", 15)
    put_program(bundle, answers_by(never_end))
    with pytest.raises(WorkError, match="own: took over 15 s"):
        predict(bundle=str(bundle), examples=1, program="stablehlo")


@pytest.mark.slow
def test_verify_refuses_what_takes_the_memory(bundle, monkeypatch):
    monkeypatch.setattr(clean_process, "MEMORY", 2 << 30)
    put_program(bundle, answers_by(take_memory))
    verdict = verify_bundle(str(bundle))
    assert not verdict.ok
    assert "emory" in str(verdict) or "SIG" in str(verdict)


def test_program_is_tried_once_and_not_at_all_where_it_was_exported(bundle, monkeypatch):
    asked = []

    def answered(*given, **_):
        asked.append(given)
        return {"violations": [], "error": None}, [{}]

    monkeypatch.setattr(tried, "run_isolated", answered)
    predict(bundle=str(bundle), examples=1, program="stablehlo")
    assert asked == []
    signature = json.loads((bundle / "signature.json").read_text())
    (bundle / "signature.json").write_text(json.dumps(signature))
    rewrite_manifest(bundle)  # another bundle, as its bytes are others
    for _ in range(2):
        predict(bundle=str(bundle), examples=1, program="stablehlo")
    assert [a[1] for a in asked] == [loader.bundle_id(bundle)]
