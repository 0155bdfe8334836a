"""A canary: a version that gets a share of a model's requests, and ends itself when it is worse."""

import hashlib
import math
from dataclasses import dataclass

from .served import ServedModel

_Z = 3.0
"""Standard errors by which a rate must lie above its bound. It is looked at after each request."""


@dataclass(frozen=True)
class CanaryRules:
    """What a canary gets, and what ends it."""

    share: float
    """Of the keys, in [0, 1]."""
    most_errors: float = 0.01
    """Share of its answers that may fail where the main version's do not."""
    most_disagreement: float = 0.1
    """Share of its rows that may have another answer than the main version's."""


class Canary:
    """A version with its share, and how it has done so far."""

    def __init__(self, served: ServedModel, rules: CanaryRules):
        self.served = served
        self.rules = rules
        self.asked = self.errors = self.rows = self.other = 0

    def takes(self, key: str) -> bool:
        """Tells whether requests with this key are the canary's: always the same for a key."""
        digest = hashlib.sha256(f"{self.served.name}\0{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.rules.share * 2**64

    def note(self, failed: bool, rows: int, other: int) -> str:
        """Notes how a request went, and returns why the canary ends; '' while it goes on.

        Args:
          failed: the canary did not answer, and the main version did.
          rows: how many rows both answered; `other` of them differ.
        """
        self.asked += 1
        self.errors += failed
        self.rows += rows
        self.other += other
        errors = least_rate(self.errors, self.asked)
        if errors > self.rules.most_errors:
            return f"{self.errors} of {self.asked} requests failed"
        if least_rate(self.other, self.rows) > self.rules.most_disagreement:
            return f"{self.other} of {self.rows} answers differ from the main version's"
        return ""


def least_rate(count: int, total: int) -> float:
    """Returns the least rate that so many of a total are well compatible with: Wilson's bound."""
    if not total:
        return 0.0
    rate, z2 = count / total, _Z * _Z / total
    spread = _Z * math.sqrt(rate * (1 - rate) / total + z2 / (4 * total))
    return (rate + z2 / 2 - spread) / (1 + z2)
