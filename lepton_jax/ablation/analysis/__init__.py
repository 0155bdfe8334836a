"""An experiment's answer: statistics of its trials, in words and tables."""
