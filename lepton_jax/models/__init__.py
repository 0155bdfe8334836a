"""Models: Flax NNX modules that know nothing of tasks, losses or devices. Contract: `model.py`."""
