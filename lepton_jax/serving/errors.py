"""What goes wrong with a bundle or an input, and what reading damaged bytes may raise."""

import struct


class BundleError(Exception):
    """The folder is no bundle, is damaged, or was written by something newer."""


class InputError(ValueError):
    """The input is not what the bundle's signature declares."""


UNREADABLE = (
    struct.error,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What reading a damaged program may raise: flatbuffers checks nothing of what it reads."""
