"""How texts become fields of tokens, whole and in order, and what is refused."""

import numpy as np
import pytest

from lepton_jax.config.components import Component, component_keys
from lepton_jax.data import dataset
from lepton_jax.data.source import Source
from lepton_jax.errors import UserError
from tests.data import pipelines


def chosen(kind: str, name: str, **keys) -> Component:
    defaults = {k: v.default for k, v in component_keys(kind, name).items()}
    return Component(kind, name, {**defaults, **keys})


def load(splits, tokenizer=None, encode=None, *, classes=("no", "yes"), valid_fraction=0.0, **keys):
    source = Source(
        {name: list(examples) for name, examples in splits.items()},
        classes,
        repr(splits),
        "texts of a test",
    )
    return dataset.load_dataset(
        source,
        decode=pipelines.read(""),
        valid_fraction=valid_fraction,
        split_seed=0,
        tokenizer=tokenizer or chosen("tokenizer", "words"),
        encode=encode or chosen("encoding", "text", **{"length": 4, **keys}),
    )


def texts(*found, **more):
    return [{"text": t, "label": np.int32(i % 2), **more} for i, t in enumerate(found)]


def test_texts_are_padded_and_say_how_much_of_them_counts():
    data = load({"train": texts("a b a", "b"), "test": texts("b a new")})
    train, test = data.splits["train"].columns, data.splits["test"].columns
    a, b = (data.spec.vocabulary.tokens.index(t) for t in "ab")
    np.testing.assert_array_equal(train["tokens"], [[a, b, a, 0], [b, 0, 0, 0]])
    np.testing.assert_array_equal(train["length"], [3, 1])
    np.testing.assert_array_equal(test["tokens"], [[b, a, 1, 0]])  # 'new' is not of the training
    assert train["tokens"].dtype == np.int32
    assert data.spec.fields.keys() == {"tokens", "length", "label"}


def test_the_vocabulary_is_of_the_training_split_alone_when_valid_is_carved():
    data = load({"train": texts(*(f"w{i}" for i in range(40)))}, valid_fraction=0.5)
    trained_on = {data.tokenizer.decode(t) for t in data.splits["train"].columns["tokens"]}
    assert trained_on == set(data.spec.vocabulary.tokens[2:])
    assert (np.asarray(data.splits["valid"].columns["tokens"])[:, 0] == 1).all()


def test_a_text_too_long_is_refused_by_its_number_or_cut_and_counted():
    long = {"train": texts("a", "a b"), "test": texts("a b", "b b b b a")}
    with pytest.raises(UserError, match=r"'test', example 1.* 5 tokens, more than 4.*truncate"):
        load(long)
    for _ in range(2):  # also when it is found encoded
        data = load(long, long="truncate")
        assert "converted: 1 text of 'test' cut to the tokens" in str(data.account)
    test = data.splits["test"].columns
    np.testing.assert_array_equal(test["cut"], [False, True])
    np.testing.assert_array_equal(test["length"], [2, 4])


def test_what_is_cut_keeps_its_end():
    tokenizer = chosen("tokenizer", "words", marks="begin_end")
    data = load({"train": texts("a b a b a")}, tokenizer, long="truncate")
    known = data.spec.vocabulary
    found = data.splits["train"].columns["tokens"][0]
    assert (found[0], found[-1]) == (known.begin, known.end)
    with pytest.raises(UserError, match="no room for a text: the tokenizer adds 2"):
        load({"train": texts("a")}, tokenizer, length=2)


def test_an_empty_text_is_the_unknown_token():
    data = load({"train": texts("a", "", "  ")})
    np.testing.assert_array_equal(data.splits["train"].columns["tokens"][1:, 0], [1, 1])
    np.testing.assert_array_equal(data.splits["train"].columns["length"], [1, 1, 1])
    with pytest.raises(UserError, match=r"example 1: the text has no token"):
        load({"train": texts("a", "")}, chosen("tokenizer", "bpe", size=257))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"text": b"caf\xe9", "label": 0}, r"'train', example 1: 'text' is not UTF-8: byte 3"),
        ({"text": 7, "label": 0}, r"'train', example 1: 'text' holds a int, expected a text"),
        ({"txt": "a", "label": 0}, r"'train', example 1: no field 'text'; did you mean|no field"),
    ],
)
def test_an_example_that_is_no_text_is_named(example, message):
    with pytest.raises(UserError, match=message):
        load({"train": [{"text": b"a", "label": 0}, example]})


def test_a_pair_tells_its_texts_apart():
    pair = [{"text": "a b", "pair": "c", "label": np.int32(0)}]
    data = load({"train": pair}, chosen("tokenizer", "wordpiece", min_count=1), pair="pair",
                length=8)  # fmt: skip
    row = data.splits["train"][0]
    np.testing.assert_array_equal(row["kinds"], [0, 0, 0, 0, 1, 1, 0, 0])
    assert [data.spec.vocabulary.tokens[i] for i in row["tokens"][:6]] == [
        "[CLS]", "a", "b", "[SEP]", "c", "[SEP]",
    ]  # fmt: skip


def test_a_translation_goes_from_its_begin_to_its_end():
    encode = chosen("encoding", "translation", source="de", target="en", source_length=5,
                    target_length=4)  # fmt: skip
    examples = {"train": [{"de": "x y z", "en": "a b"}]}
    data = load(examples, chosen("tokenizer", "words", marks="begin_end"), encode)
    row, known = data.splits["train"][0], data.spec.vocabulary
    assert {k: v.shape for k, v in row.items()} == {
        "source": (5,), "source_length": (), "target": (5,), "target_length": (),
    }  # fmt: skip
    assert [known.tokens[i] for i in row["target"]] == ["[BEGIN]", "a", "b", "[END]", "[PAD]"]
    assert (row["source_length"], row["target_length"]) == (5, 4)
    with pytest.raises(UserError, match="begin and an end"):
        load(examples, None, encode)
    with pytest.raises(UserError, match=r"example 1: no field 'en'"):
        load({"train": [*examples["train"], {"de": "x"}]}, None, encode)


def stream(*found, length=4, tokenizer=None, valid_fraction=0.0, **keys):
    return load(
        {"train": [{"text": t} for t in found]},
        tokenizer or chosen("tokenizer", "characters"),
        chosen("encoding", "stream", length=length, **keys),
        classes=(),
        valid_fraction=valid_fraction,
    )


@pytest.mark.parametrize("size", [2, 5, 6, 8, 9, 10, 23])
def test_every_token_of_a_stream_but_the_first_is_a_target_once(size: int):
    text = "abcdefghijklmnopqrstuvw"[:size]
    data = stream(text)
    targets = []
    for row in (data.splits["train"][i] for i in range(len(data.splits["train"]))):
        counted = row["tokens"][: row["length"]]
        assert not targets or targets[-1] == counted[0]
        targets += counted[1:].tolist()
        assert (row["tokens"][row["length"] :] == 0).all()
        assert row["characters"] == row["length"] - 1
    assert data.tokenizer.decode(targets) == text[1:]


def test_characters_are_counted_whatever_the_tokens_are():
    texts_of = ["the film, the film ", "été 😀😀", " the end"]
    data = stream(*texts_of, tokenizer=chosen("tokenizer", "bpe", size=270, min_count=1), length=3)
    tokenizer = data.tokenizer
    first = len(tokenizer.decode(tokenizer.encode(texts_of[0]).ids[:1]))
    total = int(np.asarray(data.splits["train"].columns["characters"]).sum())
    assert total == sum(map(len, texts_of)) - first


def test_the_last_tenth_of_one_text_is_carved_whole():
    """nanoGPT's split: data[: int(n * 0.9)] and the rest."""
    text = "".join(chr(97 + i * i % 26) for i in range(997))
    data = stream(text[:400], text[400:], valid_fraction=0.1)

    def read(split):
        rows = [data.splits[split][i] for i in range(len(data.splits[split]))]
        first = rows[0]["tokens"][:1]
        rest = [r["tokens"][1 : r["length"]] for r in rows]
        return data.tokenizer.decode(np.concatenate([first, *rest]))

    assert read("train") == text[: int(997 * 0.9)]
    assert read("valid") == text[int(997 * 0.9) :]


def test_overlapping_chunks_are_of_training_alone():
    text = "abcdefghijklmnopqrstuvw"
    data = load(
        {"train": [{"text": text}], "test": [{"text": text}]},
        chosen("tokenizer", "characters"),
        chosen("encoding", "stream", length=4, stride=1),
        classes=(),
    )
    train = data.splits["train"]
    assert len(train) == len(text) - 4
    decoded = [data.tokenizer.decode(t) for t in np.asarray(train.columns["tokens"])]
    assert decoded == [text[i : i + 5] for i in range(len(text) - 4)]
    np.testing.assert_array_equal(train.columns["characters"], 4)
    assert len(data.splits["test"]) == 6


def test_a_stream_needs_two_tokens():
    with pytest.raises(UserError, match="have 1 tokens, expected two"):
        stream("a")
