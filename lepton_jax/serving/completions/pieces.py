"""Tokens as pieces of text, as they come, up to a stop string."""

from collections.abc import Callable, Sequence

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a text ends with while the bytes of its last character are not all there."""

_BEFORE = 8
"""Tokens before the new ones that are decoded with them: they may decide how a token is joined."""


class TextPieces:
    """Turns the tokens after a prompt into pieces of text; together they are the text.

    What may be the beginning of a stop string is held back until it is known.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        prompt: Sequence[int],
        stops: Sequence[str] = (),
    ):
        self._decode = decode
        self._tokens = list(prompt[-_BEFORE:])
        self._known = len(self._tokens)
        """Of `_tokens`, those whose text has been taken."""
        self._held = ""
        self._stops = [s for s in stops if s]
        self.stopped = False

    def add(self, token: int) -> str:
        """Takes one more token; returns the text that is sure by now. Sets `stopped` at a stop
        string, which is not returned.
        """
        self._tokens.append(token)
        return self._release(self._new_text(is_last=False))

    def finish(self) -> str:
        """Returns the text that was held back, when there are no more tokens."""
        if self.stopped:
            return ""
        said = self._release(self._new_text(is_last=True)) + self._held
        self._held = ""
        return said

    def _new_text(self, is_last: bool) -> str:
        before = self._decode(self._tokens[: self._known])
        text = self._decode(self._tokens)
        grows = len(text) > len(before) and text.startswith(before)
        if not grows or (text.endswith(UNFINISHED) and not is_last):
            return ""
        self._tokens = self._tokens[max(0, self._known - _BEFORE) :]
        self._known = len(self._tokens)
        return text[len(before) :]

    def _release(self, new: str) -> str:
        text = self._held + new
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Returns how many characters at the end of a text may begin a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
