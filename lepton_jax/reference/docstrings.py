"""What a docstring says: its first sentence, its other paragraphs, and a sentence for each key."""

import inspect
import re
from dataclasses import dataclass

HEADINGS = ("Keys", "Args", "Arguments", "Parameters", "Main arguments", "Other arguments")
"""Of the parts of a docstring that list parameters, as `name: what it is`."""

_HEADING = re.compile(rf"^({'|'.join(HEADINGS)}):[ \t]*$", re.M)
_ENTRY = re.compile(r"^(`?\*{0,2}\w+`?(?:, `?\w+`?)*)(?: \([^)]*\))?: *(.*)$", re.S)
_SENTENCE = re.compile(r"(?<!\bal)(?<!e\.g)(?<!i\.e)(?<!cf)([.?!])\s+(?=[^a-z\d\s])")


@dataclass(frozen=True)
class Documentation:
    """A docstring in its parts."""

    summary: str
    """The first sentence, without its full stop."""
    details: str
    """All further paragraphs but the keys."""
    keys: dict[str, str]
    """What each key means."""


def read_docstring(*texts: str) -> Documentation:
    """Splits docstrings of one component into their parts; the first has the summary."""
    rest = ""
    keys: dict[str, str] = {}
    for i, text in enumerate(texts):
        prose, found = _take_keys(inspect.cleandoc(text))
        keys |= found
        if i == 0:
            rest = prose
    first, _, more = rest.partition("\n\n")
    summary, remainder = split_sentence(_join(first))
    details = "\n\n".join(filter(None, [remainder, more.strip()]))
    return Documentation(summary.removesuffix("."), details, keys)


def split_sentence(text: str) -> tuple[str, str]:
    """Splits a text into its first sentence and the rest of it."""
    found = _SENTENCE.search(text)
    return (text[: found.end(1)], text[found.end() :]) if found else (text, "")


def _take_keys(text: str) -> tuple[str, dict[str, str]]:
    """Returns the text without its lists of parameters, and what they say."""
    keys: dict[str, str] = {}
    while found := _HEADING.search(text):
        lines = text[found.end() :].lstrip("\n").split("\n")
        length = next((i for i, s in enumerate(lines) if s and not s.startswith(" ")), len(lines))
        listed = inspect.cleandoc("\n" + "\n".join(lines[:length]))
        for entry in re.split(r"\n(?=\S)", listed):
            if match := _ENTRY.match(entry):
                for name in match[1].split(","):
                    keys[name.strip(" `*")] = _as_sentence(match[2])
        text = text[: found.start()] + "\n".join(lines[length:])
    return text.strip(), keys


def _as_sentence(text: str) -> str:
    """Returns what is said of a key as one line, which begins with a capital."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", _join(text)).replace("``", "`")  # of Sphinx
    return text[:1].upper() + text[1:]


def _join(text: str) -> str:
    """Returns a paragraph on one line."""
    return " ".join(text.split())
