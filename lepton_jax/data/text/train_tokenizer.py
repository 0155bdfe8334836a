"""Tokenizers by name: how the tokens of a language are found in its texts.

Each is `(texts, *, keys...) -> str`: of an iterator over the texts of the training split the text
of a `tokenizer.json`, the same one whenever the texts are. [PAD] is token 0, and what stands
around every text is part of the tokenizer.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lepton_jax.config.schema import PositiveInt, Running
from lepton_jax.errors import UserError

Marks = Literal["none", "end", "begin_end"]
"""What stands around every text: nothing, an [END] after it, or [BEGIN] and [END]."""

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
    """Words in lower case, parted by white space and from punctuation.

    Main arguments:
      size: of the vocabulary with its special tokens; the most frequent words are kept.
      min_count: how often a word must occur to be kept. Others are [UNK].
    Other arguments:
      cleaning: 'kim' takes out all but letters, digits and (),!?'` and parts n't, 's and their
        like from their word, as Kim (2014) did for every data set; words are then parted by white
        space alone.
    """
    from tokenizers import Regex, normalizers, pre_tokenizers

    steps: list[Any] = [normalizers.Lowercase()]
    if cleaning == "kim":
        steps = [*(normalizers.Replace(Regex(p), by) for p, by in KIM), *steps]
    split = pre_tokenizers.WhitespaceSplit() if cleaning == "kim" else pre_tokenizers.Whitespace()
    return _counted(texts, normalizers.Sequence(steps), split, None, size, min_count, marks)


def characters(
    texts: Iterator[str],
    *,
    size: PositiveInt = 30_000,
    min_count: PositiveInt = 1,
    marks: Marks = "none",
) -> str:
    """Every character, white space too, is a token; keys as in `words`."""
    from tokenizers import Regex, decoders, pre_tokenizers

    split = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return _counted(texts, None, split, decoders.Fuse(), size, min_count, marks)


def bpe(
    texts: Iterator[str],
    *,
    size: PositiveInt = 8_000,
    min_count: PositiveInt = 2,
    marks: Marks = "none",
) -> str:
    """Byte pair encoding of UTF-8 (Sennrich et al. 2016; of bytes: Radford et al. 2019).

    No text has an unknown token. `size` counts the 256 bytes and the special tokens, and
    `min_count` is how often a pair must occur to become a token.

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
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_count,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return _finished(made, *_around(marks))


def wordpiece(
    texts: Iterator[str], *, size: PositiveInt = 30_522, min_count: PositiveInt = 2
) -> str:
    """BERT's pieces of words in lower case (Devlin et al. 2019; Schuster & Nakajima 2012), accents
    taken off, [CLS] before a text, [SEP] after it and between a pair, and a [MASK].
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer = normalizers.BertNormalizer(lowercase=True)
    split = pre_tokenizers.BertPreTokenizer()
    found = _word_pieces(_pieces(texts, normalizer, split), size - len(special), min_count)
    vocabulary = {token: i for i, token in enumerate([*special, *found])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.add_special_tokens(special)
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, split, decoders.WordPiece()
    return _finished(made, "[CLS]", "[SEP]")


def pretrained(texts: Iterator[str], *, path: Running[str]) -> str:
    """A `tokenizer.json` from elsewhere, as it is.

    Raises:
      UserError: when the file cannot be read.
    """
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"data.tokenizer.path = {path!r}: {e}") from None


def _counted(
    texts: Iterator[str],
    normalizer: Any,
    split: Any,
    decoder: Any,
    size: int,
    min_count: int,
    marks: Marks,
) -> str:
    """Of a vocabulary of the pieces that `split` makes, the most frequent first."""
    from tokenizers import Tokenizer, models

    counts = _pieces(texts, normalizer, split)
    special = ["[PAD]", "[UNK]", *_MARKS[marks]]
    # Of equals the one that sorts first: the order of counting must not matter.
    often = sorted((-n, piece) for piece, n in counts.items() if n >= min_count)
    kept = [piece for _, piece in often if piece not in special][: max(0, size - len(special))]
    vocabulary = {token: i for i, token in enumerate([*special, *kept])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.add_special_tokens(special)
    if normalizer:
        made.normalizer = normalizer
    made.pre_tokenizer = split
    if decoder:
        made.decoder = decoder
    return _finished(made, *_around(marks))


def _pieces(texts: Iterator[str], normalizer: Any, split: Any) -> Counter[str]:
    """How often each of the pieces that `split` makes occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        clean = normalizer.normalize_str(text) if normalizer else text
        counts.update(piece for piece, _ in split.pre_tokenize_str(clean))
    return counts


def _word_pieces(counts: Mapping[str, int], size: int, min_count: int) -> list[str]:
    """Parts of words by byte pair encoding's merges; one that begins no word has ## before it.

    The library's own trainer for them numbers letters in the order of a hash table, another one in
    every process, and breaks ties by these numbers. Its trainer of plain merges sorts them: so
    each letter inside of a word is here a letter of its own, from where Unicode has none.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = {word: n for word, n in counts.items() if max(word) < _PRIVATE}
    inner = sorted({letter for word in words for letter in word[1:]})
    to = {letter: chr(ord(_PRIVATE) + i) for i, letter in enumerate(inner)}
    back = {ord(private): letter for letter, private in to.items()}

    def all_words() -> Iterator[str]:
        for word, n in sorted(words.items()):
            written = word[0] + "".join(to[letter] for letter in word[1:])
            for start in range(0, n, 1000):
                yield " ".join([written] * min(1000, n - start))

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=max(0, size), min_frequency=min_count, show_progress=False
    )
    made.train_from_iterator(all_words(), trainer)
    numbers = made.get_vocab()
    found = sorted(numbers, key=numbers.__getitem__)
    return [("##" if t[0] >= _PRIVATE else "") + t.translate(back) for t in found]


def _around(marks: Marks) -> tuple[str, str]:
    """What stands before a text, and after it; '' for nothing."""
    found = _MARKS[marks]
    return ("" if len(found) < 2 else found[0], found[-1] if found else "")


def _finished(made: Any, begin: str, end: str) -> str:
    """With the tokens that stand around a text, of a pair around both."""
    from tokenizers import processors

    if begin or end:
        special = [(t, made.token_to_id(t)) for t in (begin, end) if t]
        made.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}".strip(),
            pair=f"{begin} $A {end} $B:1 {end}:1".strip(),
            special_tokens=special,
        )
    # Keys in one order, whatever a hash table made of them.
    return json.dumps(json.loads(made.to_str()), ensure_ascii=False, sort_keys=True)
