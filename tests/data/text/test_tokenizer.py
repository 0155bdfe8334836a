"""Tokenizers: what they make of texts, and that the same texts always give the same one."""

import json
import os
import re
import subprocess
import sys

import pytest

from lepton_jax.data.account import Account
from lepton_jax.data.text import train_tokenizer
from lepton_jax.data.text.encodings import PaddedEncoder, text_in_field
from lepton_jax.data.text.tokenizer import Tokenizer, train_tokenizer_once
from lepton_jax.data.text.train_tokenizer import read_tokenizer_file, words
from lepton_jax.errors import UserError

TEXTS = [
    "It's a film (a GOOD one), isn't it?",
    "They'd say: we've seen 2 films & they're fine!",
    "The film -- a comedy -- won't last; I'll leave.",
    "naïve café, 12% off",
]


def kim_clean(text: str) -> str:
    """As Kim's process_data.py does it."""
    text = re.sub(r"[^A-Za-z0-9(),!?\'\`]", " ", text)
    for end in (r"\'s", r"\'ve", r"n\'t", r"\'re", r"\'d", r"\'ll"):
        text = re.sub(end, " " + end.replace("\\", ""), text)
    for mark in (",", "!", r"\(", r"\)", r"\?"):
        text = re.sub(mark, f" {mark[-1]} ", text)
    return re.sub(r"\s{2,}", " ", text).strip().lower()


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.vocabulary.tokens[i] for i in tokenizer.encode(text).ids]


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_cleaned_as_kim_cleaned_them(text: str):
    tokenizer = Tokenizer(train_tokenizer.words(iter(TEXTS), cleaning="kim"))
    assert tokens_of(tokenizer, text) == kim_clean(text).split()


def test_words_are_the_most_frequent_and_others_are_unknown():
    texts = ["b b b a a c", "A B d"]
    tokenizer = Tokenizer(train_tokenizer.words(iter(texts), size=4))
    assert tokenizer.vocabulary.tokens == ("[PAD]", "[UNK]", "b", "a")
    assert tokens_of(tokenizer, "a z B") == ["a", "[UNK]", "b"]
    often = Tokenizer(train_tokenizer.words(iter(texts), min_count=2))
    assert often.vocabulary.tokens[2:] == ("b", "a")
    assert (often.vocabulary.pad, often.vocabulary.unknown) == (0, 1)


def test_a_word_that_looks_special_is_a_word():
    made = json.loads(train_tokenizer.words(iter(["a b"])))
    made["model"]["vocab"] |= {"<s>": 4, "[MASK]": 5}
    known = Tokenizer(json.dumps(made)).vocabulary
    assert (known.begin, known.end, known.mask) == (None, None, None)


def test_characters_are_all_there_is_and_read_back():
    text = "To be,\n or\tnot — é😀 "
    tokenizer = Tokenizer(train_tokenizer.characters(iter([text])))
    assert tokens_of(tokenizer, text) == list(text)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokens_of(tokenizer, "xé")[0] == "[UNK]"


def test_bytes_know_every_text():
    tokenizer = Tokenizer(train_tokenizer.bpe(iter(TEXTS * 3), size=300))
    assert len(tokenizer.vocabulary) == 300
    for text in [*TEXTS, " two  spaces ", "日本語 😀\n", "\x00"]:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    with pytest.raises(UserError, match="at least 259"):
        train_tokenizer.bpe(iter(TEXTS), size=258, marks="begin_end")


def test_wordpieces_are_the_longest_that_match():
    """Against the greedy algorithm of Devlin et al., on the vocabulary that was found."""
    tokenizer = Tokenizer(train_tokenizer.wordpiece(iter(TEXTS * 3), size=90))
    known = set(tokenizer.vocabulary.tokens)

    def pieces(word: str) -> list[str]:
        found: list[str] = []
        while word:
            prefix = "##" if found else ""
            n = next((n for n in range(len(word), 0, -1) if prefix + word[:n] in known), 0)
            if not n:
                return ["[UNK]"]
            found.append(prefix + word[:n])
            word = word[n:]
        return found

    for text in ("they say films", "café naive filmed", "zebra"):
        plain = text.replace("é", "e")
        wanted = [p for word in plain.split() for p in pieces(word)]
        assert tokens_of(tokenizer, text.upper()) == ["[CLS]", *wanted, "[SEP]"]
    pair = tokenizer.encode("film", "a")
    assert pair.tokens == ["[CLS]", *pieces("film"), "[SEP]", "a", "[SEP]"]
    assert pair.type_ids == [0] * (len(pair.ids) - 2) + [1, 1]
    special = tokenizer.vocabulary
    assert (special.begin, special.end, special.mask) == (2, 3, 4)


def test_marks_stand_around_every_text():
    for marks, wanted in (
        ("none", ["a"]),
        ("end", ["a", "[END]"]),
        ("begin_end", ["[BEGIN]", "a", "[END]"]),
    ):
        tokenizer = Tokenizer(train_tokenizer.words(iter(["a b"]), marks=marks))
        assert tokens_of(tokenizer, "a") == wanted
        assert tokenizer.decode(tokenizer.encode("a b").ids) == "a b"


SCRIPT = """
import sys
from lepton_jax.data.text import train_tokenizer
texts = [l.rstrip() for l in open(train_tokenizer.__file__)]
named = (("words", {}), ("characters", {}), ("bpe", dict(size=400)), ("wordpiece", dict(size=300)))
for make, keys in ((getattr(train_tokenizer, name), keys) for name, keys in named):
    print(make(iter(texts), **keys))
"""


def test_the_same_texts_give_the_same_tokenizer_in_every_process():
    found = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
        ).stdout
        for seed, threads in (("0", "1"), ("1", "4"))
    ]
    assert found[0] == found[1]
    assert len(found[0].splitlines()) == 4


def test_a_trained_one_is_kept_by_what_it_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path))
    asked = []

    def texts():
        asked.append(1)
        return iter(["a b"])

    first = train_tokenizer_once(train_tokenizer.words, texts, ["data 1"])
    assert train_tokenizer_once(train_tokenizer.words, texts, ["data 1"]).text == first.text
    assert len(asked) == 1
    train_tokenizer_once(train_tokenizer.words, texts, ["data 2"])
    assert len(asked) == 2
    (kept,) = [f for f in (tmp_path / "tokenizers").iterdir() if f.read_text() == first.text][:1]
    kept.write_text("damaged")
    assert train_tokenizer_once(train_tokenizer.words, texts, ["data 1"]).text == first.text


def test_one_from_elsewhere_is_taken_as_it_is(tmp_path):
    """A RoBERTa-like file: other names of special tokens, and padding switched on."""
    made = json.loads(train_tokenizer.words(iter(["a b"])))
    text = json.dumps(made).replace("[PAD]", "<pad>").replace("[UNK]", "<unk>")
    made = json.loads(text)
    made["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(made))
    tokenizer = Tokenizer(
        train_tokenizer.read_tokenizer_file(iter(()), path=str(tmp_path / "t.json"))
    )
    assert tokenizer.encode("a z").ids == [2, 1]
    assert (tokenizer.vocabulary.pad, tokenizer.vocabulary.unknown) == (0, 1)
    with pytest.raises(UserError, match=r"absent\.json"):
        train_tokenizer.read_tokenizer_file(iter(()), path=str(tmp_path / "absent.json"))
    with pytest.raises(UserError, match="not a readable tokenizer"):
        Tokenizer("{}")


def test_half_a_character_is_refused_in_a_sentence():
    tokenizer = Tokenizer(words(iter(["a b"])))
    with pytest.raises(UserError, match=r"half a character, '\\ud83d', behind 2 others"):
        tokenizer.encode_prompt("a \ud83d")
    with pytest.raises(UserError, match=r"'text': the text holds half a character"):
        text_in_field({"text": "\udcff"}, "text")


def test_a_tokenizer_file_with_a_byte_order_mark_is_read(tmp_path):
    file = tmp_path / "tokenizer.json"
    file.write_text(words(iter(["a b"])), "utf-8-sig")
    assert len(Tokenizer(read_tokenizer_file(iter(()), path=str(file))).vocabulary) == 4


def test_what_a_text_says_and_its_tokens_do_not_is_counted():
    tokenizer = Tokenizer(words(iter(["a b"])))
    encode = PaddedEncoder(tokenizer, 4, "truncate")
    with Account().opened() as account:
        for text in ("a b", "a [PAD]", "q a", "q", ""):
            encode(text)
    assert account.as_json()["converted"] == {
        "texts with '[PAD]', which is read as the special token": {
            "count": 1,
            "first": "'a [PAD]'",
        },
        "texts with parts that the vocabulary lacks": {"count": 2, "first": "'q'"},
        "texts without a token": {"count": 1, "first": "''"},
    }
