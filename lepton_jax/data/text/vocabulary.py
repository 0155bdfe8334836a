"""The tokens that texts are made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """The text of every token, and the numbers of those with a meaning of their own.

    A tokenizer from elsewhere need not have all of them: `pad` is then any token at all, as what
    follows a text's end is never looked at.
    """

    tokens: tuple[str, ...]
    pad: int = 0
    unknown: int | None = None
    begin: int | None = None
    """Before a text: BERT's [CLS]."""
    end: int | None = None
    """After a text: BERT's [SEP], GPT-2's <|endoftext|>."""
    mask: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)
