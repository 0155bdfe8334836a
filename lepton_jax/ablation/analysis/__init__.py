"""The answer to an experiment's question: outcomes, their statistics, sentences and tables."""
