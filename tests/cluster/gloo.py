"""What Gloo prints when processes connect, which is none of the program's own words."""

import re

_SENTENCE = "[Gloo] Rank is connected to peer ranks. ranks Expected number of connected :"
_WORDS = frozenset(_SENTENCE.split())


def own_lines(text: str) -> list[str]:
    """Returns the lines of a process's stderr without Gloo's sentence.

    Gloo writes the sentence in pieces, between which another process's line may come, so a line of
    nothing but its words and numbers is a piece of it.
    """
    return [line for line in text.splitlines() if not _is_of_gloo(line)]


def _is_of_gloo(line: str) -> bool:
    if "Gloo" in line or "peer ranks" in line:
        return True
    words = re.sub(r"^\[\d+\] ", "", line).split()
    return all(word in _WORDS or word.isdigit() for word in words)
