"""How the next token of a text is drawn from a model's logits."""

from dataclasses import dataclass

import numpy as np

# V vocabulary.


@dataclass(frozen=True)
class DrawingRule:
    """How tokens are drawn; the i-th token of a text is a function of its logits, rule and i."""

    temperature: float = 1.0
    """0: the token of the highest logit, always."""
    top_k: int = 0
    """Draws from the k most probable tokens; 0: from all."""
    top_p: float = 1.0
    """Draws from the fewest tokens whose probabilities add up to so much."""
    seed: int = 0
    choice: int = 0
    """Which of several texts of one seed."""


def draw_token(logits_V: np.ndarray, rule: DrawingRule, index: int) -> int:
    """Draws the token at place `index` of a text, by logits float32 [V], the highest finite.

    The random number is the `index`-th of the rule's own: no other text has a part in it.
    """
    if rule.temperature == 0:
        return int(logits_V.argmax())
    power_V = np.exp(keep_likely(logits_V, rule))
    upto_V = power_V.cumsum()
    share = _uniform(rule, index)
    token = int(np.searchsorted(upto_V, share * upto_V[-1], side="right"))
    return min(token, int(np.flatnonzero(power_V)[-1]))


def keep_likely(logits_V: np.ndarray, rule: DrawingRule) -> np.ndarray:
    """Returns logits float64 [V] over the temperature, below 0 but for the highest, and -inf for
    tokens that must not be drawn.

    First top_k, then top_p; ties with the last kept token are kept.
    """
    wide_V = logits_V.astype(np.float64)
    with np.errstate(over="ignore"):  # a temperature next to 0 leaves the highest alone
        kept_V = (wide_V - wide_V.max()) / rule.temperature
    if 0 < rule.top_k < len(kept_V):
        kept_V[kept_V < np.partition(kept_V, -rule.top_k)[-rule.top_k]] = -np.inf
    if rule.top_p < 1:
        power_V = np.exp(kept_V)
        p_V = power_V / power_V.sum()
        sorted_V = np.sort(p_V)[::-1]
        # A token is needed if those before it do not have enough; the first one always is.
        needed = max(1, int(np.searchsorted(sorted_V.cumsum() - sorted_V, rule.top_p)))
        kept_V[p_V < sorted_V[needed - 1]] = -np.inf
    return kept_V


def token_nats(logits_V: np.ndarray) -> np.ndarray:
    """Returns the log-probability of each token, float64 [V]: the model's own, before any rule."""
    wide_V = logits_V.astype(np.float64)
    wide_V -= wide_V.max()
    return wide_V - np.log(np.exp(wide_V).sum())


def _uniform(rule: DrawingRule, index: int) -> float:
    """Returns a number in [0, 1) that depends on the seed, the choice and the place alone."""
    key = np.asarray([rule.seed, rule.choice], np.uint64)
    bits = int(np.random.Philox(key=key, counter=index).random_raw())
    return (bits >> 11) * 2.0**-53
