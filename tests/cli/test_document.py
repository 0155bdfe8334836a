"""`--json` prints JSON, whatever a result holds."""

import dataclasses
import datetime
import enum
import json
import math
from pathlib import Path, PurePosixPath

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.cli.document import format_document
from lepton_jax.io.timestamps import utc_timestamp


class Kind(enum.Enum):
    A = "a"


class Text(str):
    pass


@dataclasses.dataclass
class Point:
    x: float
    where: Path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ({"a": [math.inf, (math.nan,)]}, {"a": ["inf", ["nan"]]}),
        (np.float32("nan"), "nan"),
        (np.float32(0.5), 0.5),
        (np.float16(0.25), 0.25),
        (jnp.bfloat16(0.5), 0.5),
        (np.int64(2**62), 2**62),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.zeros((0, 3)), []),
        (np.array([[1, 2]], np.int8), [[1, 2]]),
        (np.array(3.0), 3.0),
        (np.array([np.nan, 1]), ["nan", 1.0]),
        (jnp.arange(2), [0, 1]),
        (jnp.float32(jnp.nan), "nan"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.complex64(1 + 2j), [1.0, 2.0]),
        (np.array([b"ab"]), ["ab"]),
        (np.array([{1}, None], dtype=object), [[1], None]),
        (True, True),
        (None, None),
        (10**400, 10**400),
        (Text("t"), "t"),
        (Path("a/b"), "a/b"),
        (PurePosixPath("/x"), "/x"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00+00:00"),
        (datetime.timedelta(seconds=1), "0:00:01"),
        (b"ab", "ab"),
        (b"\xff\x00", "/wA="),
        (bytearray(b"ab"), "ab"),
        (memoryview(b"ab"), "ab"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"a"}), ["a"]),
        ((1, (2,)), [1, [2]]),
        (range(3), [0, 1, 2]),
        ((i for i in (1, 2)), [1, 2]),
        (Kind.A, "a"),
        ({Kind.A: 1}, {"a": 1}),
        (Point(math.nan, Path("p")), {"x": "nan", "where": "p"}),
        ({("a", 1): 2}, {"a/1": 2}),
        ({1: 2, None: 3, 0.5: 5}, {"1": 2, "null": 3, "0.5": 5}),
        ({np.int64(3): 1}, {"3": 1}),
        ({Path("a"): 1}, {"a": 1}),
        ({math.nan: 1}, {"nan": 1}),
        ("\ud800 é", "\ud800 é"),
        (slice(1), "slice(None, 1, None)"),
        (int, "<class 'int'>"),
    ],
    ids=lambda value: repr(value).split(" at 0x")[0],
)
def test_each_kind_of_value_has_its_form(value, expected):
    text = format_document(value)
    assert text.isascii()
    assert json.loads(text, parse_constant=pytest.fail) == expected


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(),
    st.floats(width=32).map(np.float32), st.integers(-128, 127).map(np.int8),
    st.complex_numbers(), st.timedeltas(), st.uuids(), st.decimals(), st.fractions(),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.integers(), st.none(), st.tuples(st.text(), st.integers()))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner),
        max_leaves=8,
    )
)
def test_every_nesting_of_them_is_json(value):
    json.loads(format_document(value), parse_constant=pytest.fail)


def test_document_of_plain_values_is_as_json_writes_it():
    value = {"a": [1, 0.1, "é"], "b": None, "c": {"d": utc_timestamp(0)}}
    assert format_document(value) == json.dumps(value, indent=2)
