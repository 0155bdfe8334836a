"""Values as plain Python: what numpy, JAX and pathlib hand over, as a record can hold it.

Imports: the standard library only.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any


def to_plain(value: Any) -> Any:
    """Turns arrays, scalars of numpy and JAX, paths and nests of them into plain Python.

    Arrays become lists, and scalars of any precision int, float or bool. Anything else stays, for
    the schema to judge.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    ml_collections: Any = sys.modules.get("ml_collections")  # there, if the value is of it
    if ml_collections and isinstance(value, ml_collections.FieldReference):
        return to_plain(value.get())
    if isinstance(value, Mapping) or (
        ml_collections and isinstance(value, ml_collections.ConfigDict)
    ):
        return {str(name): to_plain(child) for name, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_plain(v) for v in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist") and not isinstance(value, type):
        return value.tolist()
    return value
