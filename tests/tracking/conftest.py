from collections.abc import Iterator

import pytest

from tests.object_store import ObjectStore, mounted


@pytest.fixture
def bucket() -> Iterator[ObjectStore]:
    """`gs://` as a store without append, rename, copy and lock: such calls raise."""
    with mounted() as store:
        yield store
