"""What must not change: golden files, and artifacts of an earlier commit at work."""

from tests import conftest as conftest  # its XLA_FLAGS, outside pytest too: bits depend on them
