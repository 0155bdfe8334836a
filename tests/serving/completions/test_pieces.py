"""The pieces of a text add up to it, and end before a stop string."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lepton_jax.serving.completions.pieces import UNFINISHED, TextPieces

TEXT = "Größe: 語 and 🙂, then naïve words; the end of it all, the end."


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Of bytes: most characters that are not ASCII are several tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(["the end"] * 9, trainers.BpeTrainer(initial_alphabet=alphabet))
    return made


def write(tokenizer: Tokenizer, text: str, stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    pieces = TextPieces(tokenizer.decode, tokenizer.encode("Once ").ids, stops)
    said = []
    for token in tokenizer.encode(text).ids:
        said.append(pieces.add(token))
        if pieces.stopped:
            return said, True
    return [*said, pieces.finish()], pieces.stopped


def test_pieces_add_up_and_never_show_half_a_character(tokenizer):
    said, _ = write(tokenizer, TEXT)
    assert "".join(said) == TEXT
    assert not any(UNFINISHED in piece for piece in said)
    assert sum(map(bool, said)) > 20  # as they come, and not all at the end


def test_a_text_that_ends_within_a_character_says_so_at_the_end(tokenizer):
    pieces = TextPieces(tokenizer.decode, [], ())
    assert "".join(pieces.add(t) for t in tokenizer.encode("語").ids[:-1]) == ""
    assert pieces.finish() == UNFINISHED


@pytest.mark.parametrize("stop", ["the end", "end", "naïve", "🙂", "l, t"])
def test_a_text_ends_before_its_stop_however_tokens_cut_it(tokenizer, stop):
    said, stopped = write(tokenizer, TEXT, ("nowhere", stop))
    assert stopped
    assert "".join(said) == TEXT[: TEXT.index(stop)]


def test_what_only_begins_like_a_stop_is_shown(tokenizer):
    said, stopped = write(tokenizer, TEXT, ("the end!", "all, the ends"))
    assert not stopped
    assert "".join(said) == TEXT


def test_a_word_keeps_the_space_before_it():
    words = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "c": 3}, unk_token="[UNK]"))
    words.decoder = decoders.WordPiece()
    pieces = TextPieces(words.decode, [1])
    assert "".join(map(pieces.add, [2, 3, 2, 1])) + pieces.finish() == "b cb a"
