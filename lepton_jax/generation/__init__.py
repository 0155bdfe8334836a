"""Text from a language model: how tokens are drawn, and what reads them, a run or a bundle."""
