"""OpenAI's own client asks a real server for texts."""

import json
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lepton_jax.serving.completions.asked import KNOWN
from tests.serving.running import RunningServer, run_bundles

openai = pytest.importorskip("openai", reason="openai is not installed")

KEY = "a-token-for-tests"


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "token").write_text(KEY)
    bundle = f"--bundle=gpt={tiny_bundle('shakespeare_gpt')}"
    with run_bundles(folder, bundle, f"--token_file={folder / 'token'}") as running:
        yield running
    assert running.process.returncode == 0


@pytest.fixture(scope="module")
def client(server) -> Iterator["openai.OpenAI"]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def stream(client: "openai.OpenAI", **how: object) -> str:
    chunks = client.completions.create(model="gpt", stream=True, **how)
    return "".join(choice.text for chunk in chunks for choice in chunk.choices)


def read_metric(server: RunningServer, name: str) -> float:
    response = server.client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
    lines = response.text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_the_models_are_listed_with_their_bundles(client):
    (model,) = client.models.list().data
    assert (model.id, model.object) == ("gpt", "model")
    assert model.bundle.startswith("sha256:")
    assert client.models.retrieve("gpt").context == model.context


def test_a_text_is_the_same_whole_and_streamed_and_asked_for_again(client):
    how = {"prompt": "bado k", "max_tokens": 60, "temperature": 0.9, "seed": 5}
    whole = client.completions.create(model="gpt", **how)
    assert len(whole.choices[0].text) > 20
    assert whole.choices[0].finish_reason == "length"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (6, 60)
    assert whole.exact
    assert whole.system_fingerprint.startswith("sha256:")
    assert stream(client, **how) == whole.choices[0].text
    assert stream(client, **how | {"seed": 6}) != whole.choices[0].text
    without = client.completions.create(model="gpt", **how | {"seed": None})
    assert stream(client, **how | {"seed": without.seed}) == without.choices[0].text


def test_a_stream_comes_in_pieces_and_ends_with_the_usage(client):
    chunks = list(
        client.completions.create(
            model="gpt", prompt="ba", max_tokens=30, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert len(chunks) > 20
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + [
        "length"
    ]
    assert not chunks[-1].choices
    assert chunks[-1].usage.completion_tokens == 30


def test_many_clients_at_once_get_what_each_gets_alone(client):
    asked = [{"prompt": "bado"[: 1 + i % 4], "max_tokens": 20 + i, "seed": i} for i in range(12)]
    alone = [stream(client, **how) for how in asked]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda how: stream(client, **how), asked))
    assert together == alone


def test_several_prompts_with_several_texts_and_their_prompts(client):
    made = client.completions.create(
        model="gpt", prompt=["ba", "do"], n=2, seed=3, echo=True, max_tokens=12
    )
    texts = [choice.text for choice in made.choices]
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    assert [text[:2] for text in texts] == ["ba", "ba", "do", "do"]
    assert texts[0] != texts[1]
    first = client.completions.create(model="gpt", prompt="ba", seed=3, echo=True, max_tokens=12)
    assert first.choices[0].text == texts[0]


def test_a_text_ends_before_its_stop(client):
    how = {"prompt": "ba", "max_tokens": 40, "seed": 1}
    whole = client.completions.create(model="gpt", **how).choices[0].text
    stop = whole[10:12]
    made = client.completions.create(model="gpt", stop=[stop], **how)
    assert made.choices[0].text == whole[: whole.index(stop)]
    assert made.choices[0].finish_reason == "stop"
    assert whole.index(stop) + 2 <= made.usage.completion_tokens < 40
    assert stream(client, stop=stop, **how) == made.choices[0].text


def test_log_probabilities_belong_to_the_tokens_that_were_drawn(client):
    made = client.completions.create(
        model="gpt", prompt="ba", max_tokens=9, temperature=0, logprobs=3
    )
    told = made.choices[0].logprobs
    assert "".join(told.tokens) == made.choices[0].text
    assert told.text_offset == list(range(9))
    for token, nats, best in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert len(best) == 3
        assert best[token] == nats == max(best.values())


@pytest.mark.parametrize(
    ("how", "parameter", "said"),
    [
        ({"extra_body": {"temprature": 1}}, "temprature", "did you mean 'temperature'?"),
        ({"presence_penalty": 1}, "presence_penalty", "not served here"),
        ({"best_of": 3}, "best_of", "not served here"),
        ({"max_tokens": 0}, "max_tokens", "from 1 to 4096"),
        ({"max_tokens": True}, "max_tokens", "a whole number"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"n": 17}, "n", "from 1 to 16"),
        ({"stop": ["a"] * 5}, "stop", "up to 4 texts"),
        ({"prompt": [10**9]}, "prompt", "a token is not in"),
        ({"prompt": [[1], "a", {}]}, "prompt", "expected a text"),
        ({"prompt": ""}, "prompt", "no token"),
        ({"prompt": ["ba"] * 5, "n": 4}, "n", "at most 16"),
        ({"logprobs": 6}, "logprobs", "from 0 to 5"),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(client, how, parameter, said):
    with pytest.raises(openai.BadRequestError, match=re.escape(said)) as refused:
        client.completions.create(**{"model": "gpt", "prompt": "ba"} | how)
    assert refused.value.param == parameter
    assert refused.value.type == "invalid_request_error"


ODD = [
    None, True, 0, -1, 2**63, 2**70, 1e308, 5e-324, "", "x", "\x00", "a" * 3000, [], [[]], {},
    {"a": 1}, [1, 2], ["a", 1], [["a"]], [True], [-1], [2**40], {"include_usage": True},
    {"include_usage": 3},
]  # fmt: skip


def test_hostile_bodies_get_a_text_or_one_error_in_the_api_s_form(server):
    drawn = random.Random(0)
    statuses = set()
    for _ in range(300):
        said = {"model": "gpt", "prompt": "ba", "max_tokens": 3}
        said |= {name: drawn.choice(ODD) for name in drawn.sample(sorted(KNOWN), 2)}
        body = json.dumps(said).encode()
        if drawn.random() < 0.2:
            cut = drawn.randrange(len(body))
            body = drawn.choice([body[:cut], body[cut:], b"[" * 5000, b'{"model": "\\ud800"}'])
        got = server.client.post(
            "/v1/completions", content=body, headers={"Authorization": f"Bearer {KEY}"}
        )
        statuses.add(got.status_code)
        if got.status_code == 200 and said.get("stream") is True:
            assert got.text.endswith("data: [DONE]\n\n")
        elif got.status_code == 200:
            assert got.json()["choices"]
        else:
            assert got.json()["error"]["type"] == "invalid_request_error", got.text
    assert {200, 400} <= statuses <= {200, 400, 404}


def test_an_unknown_model_and_a_wrong_token_are_told_as_such(client):
    with pytest.raises(openai.NotFoundError, match="'gp' is not served here; there are: gpt"):
        client.completions.create(model="gp", prompt="ba")
    with pytest.raises(openai.AuthenticationError, match="bearer token"):
        client.with_options(api_key="another").models.list()


def test_a_client_that_leaves_gives_its_slots_back(client, server):
    for _ in range(3):
        chunks = client.completions.create(
            model="gpt", prompt="ba", max_tokens=4096, n=8, stream=True
        )
        next(iter(chunks))
        chunks.close()
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).completions.create(
            model="gpt", prompt="ba", max_tokens=4096, n=16
        )
    end = time.monotonic() + 5
    while read_metric(server, "lepton_texts") and time.monotonic() < end:
        time.sleep(0.02)
    assert not read_metric(server, "lepton_texts")
    assert read_metric(server, 'lepton_tokens_total{kind="written",model="gpt"}') > 0


def test_a_server_that_is_told_to_end_writes_what_it_has_begun(tiny_bundle, tmp_path):
    bundle = f"--bundle=gpt={tiny_bundle('shakespeare_gpt')}"
    with run_bundles(tmp_path, bundle) as server:
        client = openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)
        chunks = client.completions.create(
            model="gpt", prompt="ba", max_tokens=3000, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        next(chunks)
        server.process.terminate()
        *_, last = chunks
        assert last.usage.completion_tokens == 3000
        assert server.process.wait(30) == 0
