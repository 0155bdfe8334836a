"""The version of lepton_jax, in one place."""

__version__ = "0.1.0"
