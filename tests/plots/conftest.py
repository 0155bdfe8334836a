from tests.tracking.conftest import bucket

__all__ = ["bucket"]
