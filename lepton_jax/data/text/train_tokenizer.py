"""Tokenizers by name: how the tokens of a language are found in its texts.

Each function is `(texts, *, keys...) -> str`. It takes an iterator over the texts of the training
split and returns the text of a `tokenizer.json`; the same texts always give the same one. [PAD] is
token 0, and the tokens that stand around every text are part of the tokenizer.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lepton_jax.config.schema import PathText, PositiveInt, Running
from lepton_jax.errors import UserError

Marks = Literal["none", "end", "begin_end"]
"""The tokens around every text: none, an [END] after it, or [BEGIN] and [END]."""

_MARKS: dict[str, tuple[str, ...]] = {
    "none": (),
    "end": ("[END]",),
    "begin_end": ("[BEGIN]", "[END]"),
}

_PRIVATE = "\U000f0000"
"""The first of the code points that Unicode leaves to private use, planes 15 and 16."""

KIM = (
    (r"[^A-Za-z0-9(),!?'`]", " "),
    *((re.escape(end), f" {end}") for end in ("'s", "'ve", "n't", "'re", "'d", "'ll")),
    *((re.escape(mark), f" {mark} ") for mark in ",!()?"),
)
"""How Kim's code for sentences cleans English: a pattern and what replaces it, in order."""


def words(
    texts: Iterator[str],
    *,
    size: PositiveInt = 30_000,
    min_count: PositiveInt = 1,
    cleaning: Literal["none", "kim"] = "none",
    marks: Marks = "none",
) -> str:
    """Makes tokens of words in lower case, parted by white space and from punctuation.

    Keys:
      size: the size of the vocabulary with its special tokens; the most frequent words are kept.
      min_count: how often a word must occur to be kept; others are [UNK].
      cleaning: 'kim' takes out all but letters, digits and (),!?'` and parts n't, 's and their like
        from their word, as Kim (2014) did for every data set; words are then parted by white space
        alone.
      marks: the tokens around every text: none, an [END] after it, or [BEGIN] and [END].
    """
    from tokenizers import Regex, normalizers, pre_tokenizers

    steps: list[Any] = [normalizers.Lowercase()]
    if cleaning == "kim":
        steps = [*(normalizers.Replace(Regex(p), by) for p, by in KIM), *steps]
    split = pre_tokenizers.WhitespaceSplit() if cleaning == "kim" else pre_tokenizers.Whitespace()
    return _frequent_pieces(texts, normalizers.Sequence(steps), split, None, size, min_count, marks)


def characters(
    texts: Iterator[str],
    *,
    size: PositiveInt = 30_000,
    min_count: PositiveInt = 1,
    marks: Marks = "none",
) -> str:
    """Makes a token of every character, white space too.

    Keys:
      size: the size of the vocabulary with its special tokens; the most frequent characters are
        kept.
      min_count: how often a character must occur to be kept; others are [UNK].
      marks: the tokens around every text: none, an [END] after it, or [BEGIN] and [END].
    """
    from tokenizers import Regex, decoders, pre_tokenizers

    split = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return _frequent_pieces(texts, None, split, decoders.Fuse(), size, min_count, marks)


def bpe(
    texts: Iterator[str],
    *,
    size: PositiveInt = 8_000,
    min_count: PositiveInt = 2,
    marks: Marks = "none",
) -> str:
    """Trains a byte pair encoding of UTF-8 (Sennrich et al. 2016; of bytes: Radford et al. 2019).

    No text has an unknown token.

    Keys:
      size: the size of the vocabulary, with the 256 bytes and the special tokens.
      min_count: how often a pair must occur to become a token.
      marks: the tokens around every text: none, an [END] after it, or [BEGIN] and [END].

    Raises:
      UserError: for a `size` that the bytes do not fit into.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["[PAD]", *_MARKS[marks]]
    if size < 256 + len(special):
        raise UserError(
            f"data.tokenizer.size = {size}: expected at least {256 + len(special)}, the 256 bytes "
            f"and {', '.join(special)}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_count,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _to_json(tokenizer, *_around(marks))


def wordpiece(
    texts: Iterator[str], *, size: PositiveInt = 30_522, min_count: PositiveInt = 2
) -> str:
    """Trains BERT's pieces of words (WordPiece: Devlin et al. 2019; Schuster & Nakajima 2012).

    Words are in lower case, without accents. [CLS] stands before a text, [SEP] after it and between
    a pair, and there is a [MASK].

    Keys:
      size: the size of the vocabulary, with its special tokens.
      min_count: how often a pair of pieces must occur to become a token.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer = normalizers.BertNormalizer(lowercase=True)
    split = pre_tokenizers.BertPreTokenizer()
    counts = _count_pieces(texts, normalizer, split)
    pieces = _merge_pieces(counts, size - len(special), min_count)
    vocabulary = {token: i for i, token in enumerate([*special, *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    tokenizer.decoder = decoders.WordPiece()
    return _to_json(tokenizer, "[CLS]", "[SEP]")


def read_tokenizer_file(texts: Iterator[str], *, path: Running[PathText]) -> str:
    """Reads a `tokenizer.json` from elsewhere, as it is. `texts` are not looked at.

    Keys:
      path: the file.

    Raises:
      UserError: when the file cannot be read.
    """
    try:
        return Path(path).expanduser().read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"data.tokenizer.path = {path!r}: {e}") from None


def _frequent_pieces(
    texts: Iterator[str],
    normalizer: Any,
    split: Any,
    decoder: Any,
    size: int,
    min_count: int,
    marks: Marks,
) -> str:
    """Makes a tokenizer whose tokens are the pieces that `split` makes, the most frequent first."""
    from tokenizers import Tokenizer, models

    counts = _count_pieces(texts, normalizer, split)
    special = ["[PAD]", "[UNK]", *_MARKS[marks]]
    # Of equally frequent pieces the one that sorts first: the order of counting must not matter.
    often = sorted((-n, piece) for piece, n in counts.items() if n >= min_count)
    kept = [piece for _, piece in often if piece not in special][: max(0, size - len(special))]
    vocabulary = {token: i for i, token in enumerate([*special, *kept])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = split
    if decoder:
        tokenizer.decoder = decoder
    return _to_json(tokenizer, *_around(marks))


def _count_pieces(texts: Iterator[str], normalizer: Any, split: Any) -> Counter[str]:
    """Counts how often each of the pieces that `split` makes occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        clean = normalizer.normalize_str(text) if normalizer else text
        counts.update(piece for piece, _ in split.pre_tokenize_str(clean))
    return counts


def _merge_pieces(counts: Mapping[str, int], size: int, min_count: int) -> list[str]:
    """Merges letters into parts of words, as byte pair encoding does. A part that begins no word
    has ## before it.

    The library's own trainer for WordPiece numbers letters in the order of a hash table, which is
    another one in every process, and breaks ties by these numbers. Its trainer of plain merges
    sorts the letters. So a letter inside of a word is here replaced by a letter of its own, of
    those that Unicode leaves to private use.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = {word: n for word, n in counts.items() if max(word) < _PRIVATE}
    inner = sorted({letter for word in words for letter in word[1:]})
    private = {letter: chr(ord(_PRIVATE) + i) for i, letter in enumerate(inner)}
    letters = {ord(code): letter for letter, code in private.items()}

    def all_words() -> Iterator[str]:
        for word, n in sorted(words.items()):
            written = word[0] + "".join(private[letter] for letter in word[1:])
            for start in range(0, n, 1000):
                yield " ".join([written] * min(1000, n - start))

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=max(0, size), min_frequency=min_count, show_progress=False
    )
    tokenizer.train_from_iterator(all_words(), trainer)
    numbers = tokenizer.get_vocab()
    tokens = sorted(numbers, key=numbers.__getitem__)
    return [("##" if t[0] >= _PRIVATE else "") + t.translate(letters) for t in tokens]


def _around(marks: Marks) -> tuple[str, str]:
    """Returns the tokens that stand before a text and after it; '' for none."""
    tokens = _MARKS[marks]
    return ("" if len(tokens) < 2 else tokens[0], tokens[-1] if tokens else "")


def _to_json(tokenizer: Any, begin: str, end: str) -> str:
    """Returns the text of `tokenizer.json`, with the tokens that stand around a text, and around
    both texts of a pair.
    """
    from tokenizers import processors

    if begin or end:
        special = [(t, tokenizer.token_to_id(t)) for t in (begin, end) if t]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}".strip(),
            pair=f"{begin} $A {end} $B:1 {end}:1".strip(),
            special_tokens=special,
        )
    # Keys in one order, whatever a hash table tokenizer of them.
    return json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, sort_keys=True)
