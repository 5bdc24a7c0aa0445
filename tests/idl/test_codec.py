"""Bytes are read as by anchorpy, as by a second reader, and whatever they are."""

from __future__ import annotations

import json
import struct

import pytest
from anchorpy.coder.coder import Coder
from anchorpy_core.idl import Idl as AnchorIdl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import borsh
from helpers.idls import FIELDS, LEGACY, NEW, TYPES
from idl import parse_idl
from idl.base58 import to_base58
from idl.codec import DecodeError, Decoder
from idl.encode import EncodeError, encode
from idl.plain import plainer
from idl.types import (
    FieldLayout,
    NamedType,
    Option,
    Primitive,
    Struct,
    Tuple,
    Type,
    Vec,
    is_bytes,
)

OLD = parse_idl(json.dumps(LEGACY).encode())
IDL = parse_idl(json.dumps(NEW).encode())
ANCHOR = Coder(AnchorIdl.from_json(json.dumps(LEGACY)))
KINDS = [each["type"] for each in FIELDS]
NAMES = [each.name for each in IDL.event("Everything").fields]
EVERYTHING = Decoder(IDL.event("Everything").fields, IDL.types)


def values_of(raw):
    """A strategy for the values of a type expression."""
    if isinstance(raw, str):
        known = {
            "bool": st.booleans(),
            "string": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
            "bytes": st.binary(max_size=40),
            "pubkey": st.binary(min_size=32, max_size=32),
            "f64": st.floats(allow_nan=False),
        }
        return known[raw] if raw in known else integers(raw)
    [(key, inner)] = raw.items()
    if key == "option":
        return st.none() | values_of(inner)
    if key == "vec":
        return st.lists(values_of(inner), max_size=4)
    if key == "array":
        if inner[0] == "u8":
            return st.binary(min_size=inner[1], max_size=inner[1])
        return st.lists(values_of(inner[0]), min_size=inner[1], max_size=inner[1])
    layout = borsh.defined(TYPES, raw)
    if layout["kind"] == "struct":
        return st.tuples(*map(values_of, borsh.kinds_of(layout["fields"])))
    return st.one_of(
        [
            st.tuples(
                st.just(each["name"]),
                st.tuples(*map(values_of, borsh.kinds_of(each["fields"]))),
            )
            if "fields" in each
            else st.just(each["name"])
            for each in layout["variants"]
        ]
    )


def integers(raw):
    bits = int(raw[1:])
    if raw[0] == "u":
        return st.integers(0, 2**bits - 1) | st.just(2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def body_of(values):
    return b"".join(
        borsh.write(TYPES, k, v) for k, v in zip(KINDS, values, strict=True)
    )


EVERY_VALUE = st.tuples(*map(values_of, KINDS))


def as_ours(value, kind: Type):
    """A value of anchorpy's in our form."""
    if isinstance(value, (int, float, str, type(None))):
        return value
    if is_bytes(kind) or isinstance(kind, Primitive):
        return bytes(value)
    if isinstance(kind, Option):
        return as_ours(value, kind.item)
    if isinstance(kind, Struct):
        return tuple(as_ours(getattr(value, f.name), f.type) for f in kind.fields)
    if isinstance(kind, Tuple):
        return tuple(map(as_ours, value.tuple_data, kind.items))
    if isinstance(kind, Vec) or hasattr(kind, "item"):
        return [as_ours(each, kind.item) for each in value]
    [variant] = [v for v in kind.variants if v.name == type(value).__name__]
    if variant.type is None:
        return variant.name
    return variant.name, as_ours(value, variant.type)


def anchorpy_values(coder, data):
    decoded = coder.parse(data).data
    kinds = OLD.event("Everything").fields
    read = dict.__getitem__ if isinstance(decoded, dict) else getattr
    return [as_ours(read(decoded, f.name), f.type) for f in kinds]


@settings(max_examples=150, deadline=None)
@given(EVERY_VALUE)
def test_events_accounts_and_instructions_are_what_anchorpy_reads(values):
    body = body_of(values)
    instruction = OLD.instruction("settle_now")
    coders = [
        (ANCHOR.events, OLD.event("Everything")),
        (ANCHOR.accounts, OLD.accounts[0]),
        (ANCHOR.instruction, instruction),
    ]

    for coder, layout in coders:
        found, end = Decoder(layout.fields, OLD.types).decode(body)

        assert found == list(values)
        assert end == len(body)
        assert found == anchorpy_values(coder, layout.discriminator + body)


@settings(max_examples=150, deadline=None)
@given(EVERY_VALUE)
def test_new_idls_are_read_as_by_the_second_reader(values):
    body = body_of(values)
    reader = borsh.Reader(TYPES, body + b"more")

    assert EVERYTHING.decode(body + b"more") == (list(values), len(body))
    assert [reader.read(kind) for kind in KINDS] == list(values)


HOSTILE = [
    ("u64", b"\1\2"),
    ("string", b"\xff\xff\xff\xff"),
    ("string", b"\4\0\0\0ab\xff\0"),
    ({"vec": "u64"}, b"\xff\xff\xff\xff12345678"),
    ({"vec": "string"}, b"\x10\x27\0\0\1\0\0\0"),
    ({"option": "u8"}, b"\2\2"),
    ({"vec": {"option": "u8"}}, b"\2\0\0\0\1\1\7"),
    ({"defined": {"name": "Kind"}}, b"\2"),
    ({"defined": {"name": "Fee"}}, b"\1\1"),
    ({"vec": "u8"}, b"\5\0\0\0abcd"),
    ({"bincode": "string"}, b"\3\0\0\0\0\0\0\0ab"),
    ({"bincode": "bytes"}, b"\1\0\0\0\0\0\0\x80ab"),
    ({"bincode": {"vec": "u32"}}, b"\1\0\0\0\0\0\0\0ab"),
    ({"remainder": "string"}, b"\xff"),
    ({"remainder": "bytes"}, b""),
    ({"remainder": {"vec": "u32"}}, b"abcde"),
]
ANY_KIND = st.sampled_from([*KINDS, *(kind for kind, _ in HOSTILE)])


def is_same(left, right) -> bool:
    return left == right or repr(left) == repr(right)  # NaN is not itself


@settings(max_examples=500, deadline=None)
@given(ANY_KIND, st.binary(max_size=60))
@example(*HOSTILE[0])
@example(*HOSTILE[1])
@example(*HOSTILE[2])
@example(*HOSTILE[3])
@example(*HOSTILE[4])
@example(*HOSTILE[5])
@example(*HOSTILE[6])
@example(*HOSTILE[7])
@example(*HOSTILE[8])
@example(*HOSTILE[9])
@example(*HOSTILE[10])
@example(*HOSTILE[11])
@example(*HOSTILE[12])
@example(*HOSTILE[13])
@example(*HOSTILE[14])
@example(*HOSTILE[15])
def test_any_bytes_are_read_as_by_the_second_reader_or_refused(kind, data):
    at = KINDS.index(kind) if kind in KINDS else None
    layout = IDL.event("Everything").fields[at] if at is not None else layout_of(kind)
    reader = borsh.Reader(TYPES, data)
    try:
        expected = [reader.read(kind)]
    except ValueError:
        with pytest.raises(DecodeError):
            Decoder([layout], IDL.types).decode(data)
    else:
        found, end = Decoder([layout], IDL.types).decode(data)
        assert is_same(found, expected)
        assert end == reader.at
        json.dumps(plainer(layout.type, IDL.types)(found[0]))


def layout_of(kind):
    event = {"name": "E", "type": {"kind": "struct", "fields": [
        {"name": "f", "type": kind}]}}  # fmt: skip
    raw = {
        "metadata": {"name": "x", "spec": "0.1.0"},
        "types": [*TYPES, event],
        "events": [{"name": "E", "discriminator": [1]}],
    }
    return parse_idl(raw).event("E").fields[0]


def test_texts_that_cannot_be_stored_are_mended_and_marked():
    decoder = Decoder([FieldLayout("note", Primitive("string"))], {})

    for raw in (b"\3\0\0\0a\xffb", b"\3\0\0\0a\0b"):
        assert decoder.decode(raw)[0] == ["a\ufffdb"]
        assert decoder.mended

    good = "a\ufffdbcd"
    assert decoder.decode(b"\7\0\0\0" + good.encode())[0] == [good]
    assert not decoder.mended


def test_a_type_that_holds_itself_is_read_to_a_depth():
    node = Struct((FieldLayout("value", Primitive("u8")),
                   FieldLayout("next", Option(NamedType("Node")))))  # fmt: skip
    decoder = Decoder([FieldLayout("first", NamedType("Node"))], {"Node": node})

    found, _ = decoder.decode(b"\1\1\2\0")

    assert found == [(1, (2, None))]
    plain = plainer(NamedType("Node"), {"Node": node})
    assert plain(found[0]) == {"value": "1", "next": {"value": "2", "next": None}}
    with pytest.raises(DecodeError, match="nest too deeply"):
        decoder.decode(b"\1\1" * 5000)
    assert decoder.decode(b"\1\1\2\0")[0] == found


def test_a_list_of_nothing_is_bounded():
    for item in (Tuple(()), Primitive("u8")):
        decoder = Decoder([FieldLayout("f", Vec(Vec(item)))], {})
        with pytest.raises(DecodeError):
            decoder.decode(b"\1\0\0\0\xff\xff\xff\xff")


def test_a_c_option_is_as_long_without_a_value():
    decoder = Decoder(
        [FieldLayout("f", Option(Primitive("u64"), c_option=True)),
         FieldLayout("g", Primitive("u8"))], {})  # fmt: skip

    assert decoder.decode(bytes(12) + b"\7") == ([None, 7], 13)
    assert decoder.decode(b"\1\0\0\0" + b"\5" + bytes(7) + b"\7") == ([5, 7], 13)


def test_what_has_no_column_type_becomes_json():
    def plain(name, value):
        [layout] = [f for f in IDL.event("Everything").fields if f.name == name]
        return plainer(layout.type, IDL.types)(value)

    key = bytes(range(32))
    assert plain("maybe", 2**64 - 1) == "18446744073709551615"
    assert plain("maybe", None) is None
    assert plain("blob", b"\0\xff") == "0x00ff"
    assert plain("ratio", float("nan")) == "nan"
    assert plain("ratio", 0.5) == 0.5
    assert plain("payouts", [(key, 3)]) == [
        {"recipient": to_base58(key), "amount": "3"}
    ]
    terms = plain("terms", (("Fixed", (1, key)), [], None))
    assert terms == {
        "fee": {"Fixed": {"amount": "1", "mint": to_base58(key)}},
        "splits": [],
        "note": None,
    }
    assert plain("terms", (("Bps", (30,)), [], "x"))["fee"] == {"Bps": ["30"]}
    assert plain("terms", ("Free", [], "x"))["fee"] == "Free"


def plain_of(layout, values):
    return {
        field.name: plainer(field.type, IDL.types)(value)
        for field, value in zip(layout.fields, values, strict=True)
    }


@settings(max_examples=150, deadline=None)
@given(EVERY_VALUE)
def test_values_are_written_as_by_the_second_writer_in_either_form(values):
    """What the second writer makes, anchorpy reads: see above."""
    layout = IDL.event("Everything")
    given_ = dict(zip(NAMES, values, strict=True))

    assert encode(layout.fields, given_, IDL.types) == body_of(values)
    assert encode(layout.fields, plain_of(layout, values), IDL.types) == body_of(values)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_float_that_json_has_no_number_for_is_written_from_its_text(value):
    layout = [FieldLayout("ratio", Primitive("f64"))]
    text = plainer(Primitive("f64"), {})(value)

    assert encode(layout, {"ratio": text}, {}) == struct.pack("<d", value)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=9,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(IDL.event("Everything").fields), ANYTHING)
def test_whatever_is_given_is_written_or_refused_by_name(field, value):
    try:
        body = encode([field], {field.name: value}, IDL.types)
    except EncodeError as error:
        refusal = str(error)
        body = None
    if body is None:
        assert refusal.startswith(field.name)
        return
    found, end = Decoder([field], IDL.types).decode(body)
    assert end == len(body)
    assert encode([field], {field.name: found[0]}, IDL.types) == body


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("tiny", 256, "tiny: 256 is beyond u8"),
        ("tiny", -1, "tiny: -1 is beyond u8"),
        ("tiny", True, "tiny: expected an integer"),
        ("amount", "1e3", "amount: expected an integer"),
        ("amount", "9" * 90, "amount: expected an integer"),
        ("buyer", "0x11", "buyer: '0' is not a letter of base58"),
        ("buyer", b"\1" * 31, "buyer: expected a key"),
        ("purchase_id", "0x11", "purchase_id: it has 1 bytes, not 32"),
        ("pair", [1], "pair: it has 1 elements, not 2"),
        ("kind", "Lend", "kind: 'Lend' is none of Buy, Sell"),
        ("terms", {"fee": "Free", "splits": []}, "terms: note is missing"),
        ("payouts", [{"recipient": "1" * 32, "amount": "x"}], r"payouts\[0\].amount"),
        ("done", 1, "done: expected true or false"),
        ("ratio", 10**400, "ratio: it is beyond f64"),
        ("note", "\ud800", "note: it has half of a surrogate pair"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(name, value, told):
    [field] = [each for each in IDL.event("Everything").fields if each.name == name]

    with pytest.raises(EncodeError, match=told):
        encode([field], {name: value}, IDL.types)
