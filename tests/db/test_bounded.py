"""JSON of others: bounded, and of one meaning."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.bounded import DEPTH_MAX, Unreadable, load_json, load_strict_json, too_deep

ROOM = 1 << 20
SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=30,
)


def depth_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@SLOWLY
@given(VALUES, st.booleans())
def test_the_depth_is_that_of_the_value(value, ascii_only):
    content = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")

    for limit in range(4):
        assert too_deep(content, limit) == (depth_of(value) > limit)


@SLOWLY
@given(VALUES)
def test_what_is_shallow_is_read_as_it_is(value):
    content = json.dumps(value).encode()

    assert value == load_json(content, bytes_max=ROOM)


@pytest.mark.parametrize("load", [load_json, load_strict_json])
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000, b'{"a":' * 100_000, b"[{" * 500, b'["' + b"[" * 100 + b'"',
        b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), b"\xff\xfe[\x00]\x00",
        b"nul", b"", b"1" * 5000, b'"' + b"x" * ROOM + b'"', b'"\xff"', b'"a\x00b"',
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(load, content):
    with pytest.raises(Unreadable):
        load(content, bytes_max=ROOM)


def test_the_deepest_that_is_taken_is_taken():
    content = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX

    assert load_strict_json(content, bytes_max=ROOM)


def test_brackets_in_strings_are_no_nesting():
    content = json.dumps({"a": "[" * 500, "b\\": '"{"[{"' * 90, "c": "\\[" * 99})

    assert json.loads(content) == load_json(content.encode(), bytes_max=ROOM)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"issuer": 1, "issuer": 2}', "issuer is there twice"),
        (b'[{"a": {"b": 1, "c": 2, "b": 1}}]', "b is there twice"),
        (b'{"note": "a\\u0000b"}', "note holds a zero character"),
        (b'{"a": {"b": ["", "\\u0000"]}}', r"a\.b\[1\] holds a zero character"),
        (b'{"a\\u0000": 1}', "holds a zero character"),
        (b'{"a": "\\ud800"}', "a holds half a character"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_by_the_strict_form(content, reason):
    with pytest.raises(Unreadable, match=reason):
        load_strict_json(content, bytes_max=ROOM)


def test_strings_that_never_end_are_read_once():
    # With a step for each pair of quotes this would go on for hours.
    assert too_deep(b'[{"' * 99 + b'\\"' * 2_000_000, DEPTH_MAX)
