"""What a model and a task are told of the data: its fields, its classes, its vocabulary.

Imports: errors only. A task that asks for a `DataSpec` loads nothing else of the data room.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lepton_jax.errors import UserError, describe_value, did_you_mean, list_names

RESERVED = ("position", "mask", "seed")
"""Fields that a batch has beside those of the data:

- `position` int32 [B], in training: the place of an example in the whole batch.
- `mask` float32 [B], in an evaluation: 1 where an example counts, 0 where it fills up the batch.
- `seed` uint32 [B], in an evaluation: the number of an example in its split. Everything that an
  evaluation draws for the example is drawn from it.
"""


@dataclass(frozen=True)
class FieldSpec:
    """One field of an example: its shape, without a batch axis, and its dtype's name."""

    shape: tuple[int, ...]
    dtype: str


SEED = FieldSpec((), "uint32")

SHOWN = 5
"""Names that a message lists."""


class LeftOut(NamedTuple):
    """Why a column of the data is no field: what it holds, and where that was seen."""

    kind: str
    where: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """The text of every token, and the numbers of the tokens with a meaning of their own.

    A tokenizer from elsewhere need not have all of them. `pad` is then any token at all: nothing
    looks at what follows the end of a text.
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

    def encode_words(self, text: str) -> list[int]:
        """Returns the tokens of a text whose words, parted by white space, are tokens.

        Raises:
          UserError: for a word that is no token.
        """
        number = {token: i for i, token in enumerate(self.tokens)}
        for word in text.split():
            if word not in number:
                raise UserError(f"prompt: no token is {word!r}{did_you_mean(word, number)}")
        return [number[word] for word in text.split()]

    def decode_words(self, tokens: Sequence[int]) -> str:
        """Returns the words of tokens, with a space between, without pad, begin and end."""
        special = {self.pad, self.begin, self.end} if self.end is not None else set()
        return " ".join(self.tokens[i] for i in tokens if i not in special)


@dataclass(frozen=True)
class DataSpec:
    """What a model and a task are built from: the fields of an example, the names of its classes,
    and the vocabulary of its tokens, if it has tokens.

    `decode` makes the text of tokens, where a tokenizer made the tokens.
    """

    fields: dict[str, FieldSpec]
    classes: tuple[str, ...]
    vocabulary: Vocabulary | None = None
    decode: Callable[[Sequence[int]], str] | None = field(default=None, compare=False, repr=False)
    origin: str = field(default="the data", compare=False, repr=False)
    """The source in words, for messages: 'tables of notes.csv'."""
    column_keys: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """As `Source.column_keys`."""
    columns: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """As `Source.columns`."""
    left_out: Mapping[str, LeftOut] = field(default_factory=dict, compare=False, repr=False)
    """As `Source.left_out`."""

    def decode_tokens(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, without the special ones. Without a tokenizer tokens are
        words.
        """
        if self.decode is not None:
            return self.decode(tokens)
        assert self.vocabulary is not None
        return self.vocabulary.decode_words(tokens)

    def difference(self, other: "DataSpec") -> str:
        """Says in what it differs from another: `the classes are 'cat', expected 'cat', 'dog'`."""
        if self.fields != other.fields:
            mine, theirs = (describe_value(x.fields) for x in (self, other))
            return f"the fields are {mine}, expected {theirs}"
        if self.classes != other.classes:
            mine, theirs = (list_names(map(repr, x.classes), SHOWN) for x in (self, other))
            return f"the classes are {mine or 'none'}, expected {theirs or 'none'}"
        return "its tokens are another vocabulary"

    def require(
        self, task: str, name: str, axes: int | tuple[int, ...], dtype: str = "", hint: str = ""
    ) -> FieldSpec:
        """Returns the field `name`, checked: it has so many axes an example, and the name of its
        dtype holds `dtype`.

        Raises:
          UserError: when the data has no such field: what `task` needs, what there is, and `hint`
            or the key of the source that names the field's column.
        """
        ranks = (axes,) if isinstance(axes, int) else axes
        field = self.fields.get(name)
        if field is not None and len(field.shape) in ranks and dtype in field.dtype:
            return field
        if field is None and name in self.column_keys:
            hint = hint or self._column_hint(name, ranks, dtype)
        if field is None and name in self.left_out:
            kind, where = self.left_out[name]
            hint = f"The column {name!r} holds {kind}" + (f" ({where})" if where else "")
        near = did_you_mean(name, self.fields) if field is None and not hint else ""
        near += "" if near or hint else "; give data that has it, or another task.name"
        of = {"": "", "int": " of integers", "float": " of floats"}.get(dtype, f" of {dtype}")
        wanted = "one number" if ranks == (0,) else f"{' or '.join(map(str, ranks))} axes"
        raise UserError(
            f"{task} needs a field {name!r}{of} with {wanted} an example; the data has "
            f"{describe_value(self.fields)}{near}" + (hint and f". {hint}")
        )

    def _column_hint(self, name: str, ranks: tuple[int, ...], dtype: str) -> str:
        """Says which columns there are, and which of them may be the field `name`."""
        fit = [
            column
            for column, spec in self.fields.items()
            if len(spec.shape) in ranks
            and dtype in spec.dtype
            and column in (self.columns or self.fields)
        ]
        fit += [column for column in self.columns if column not in self.fields]
        near = did_you_mean(name, fit)
        which = " or ".join(map(repr, fit[:SHOWN])) if fit else "..."
        there = f"The columns of {self.origin} are {list_names(map(repr, self.columns))}"
        key = f"data.source.{name} = {which} names the column{near}"
        return f"{there}; {key}" if self.columns else key

    def require_classes(self, task: str) -> tuple[str, ...]:
        """Returns the names of the classes, checked: there are two at least, and each example has
        one whole number `label`.

        Raises:
          UserError: when the labels are of another kind, or name fewer than two classes.
        """
        label = self.fields.get("label")
        hint = ""
        if label is not None and label.shape:
            hint = (
                "Of labels [N, 1] give labels[:, 0], and of one-hot labels their argmax(-1)"
                if len(label.shape) == 1
                else "A class is one whole number an example"
            )
        elif label is not None and "int" not in label.dtype:
            hint = "A class is a whole number from 0 on: labels.astype(int), if they are whole"
        self.require(task, "label", 0, "int", hint)
        if len(self.classes) < 2:
            named = f", {self.classes[0]!r}" if self.classes else ""
            raise UserError(
                f"{task} needs at least two named classes; {self.origin} has "
                f"{len(self.classes)}{named}"
            )
        return self.classes
