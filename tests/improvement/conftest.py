"""A registry in a folder of the test's own, as the tests of the registry have it."""

from tests.registry.conftest import migrated, registry_root

__all__ = ["migrated", "registry_root"]
