"""Decoders against eth_abi: the same values, or both refuse, or ours mends."""

# ruff: noqa: RUF012 - a declaration's `where` is not a default

from __future__ import annotations

import json
import re
import struct
from typing import Any

import numpy as np
import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.declare import (
    Address,
    Blob,
    Bool,
    Bytes32,
    Contract,
    DeclarationError,
    Event,
    FixedBytes,
    Hash,
    Int,
    Json,
    Text,
    Uint,
)
from db.declare.evm.types import field_for_abi
from db.declare.fields import FieldKind
from helpers.rpc import FakeLog, log_for
from indexer.evm.abi import AbiDecodeError, decode_body, layout_of, plain
from indexer.evm.decode import Logs, decoders_for
from indexer.evm.messages import RpcLog
from indexer.rpc.messages import Malformed

EMITTER = b"\xaa" * 20


def abi_event(name: str, *params: tuple, anonymous: bool = False) -> dict[str, Any]:
    """`(type, name, indexed)`; a struct's type is a list of (type, name)."""
    return {
        "type": "event",
        "name": name,
        "anonymous": anonymous,
        "inputs": [
            {**abi_type(kind), "name": label, "indexed": indexed}
            for kind, label, indexed in params
        ],
    }


def abi_type(kind) -> dict[str, Any]:
    if isinstance(kind, str):
        return {"type": kind}
    parts, suffix = kind
    components = [{**abi_type(part), "name": label} for part, label in parts]
    return {"type": "tuple" + suffix, "components": components}


def rpc_log(log: FakeLog) -> RpcLog:
    return RpcLog(
        address="0x" + log.address.hex(),
        topics=["0x" + topic.hex() for topic in log.topics],
        data="0x" + log.data.hex(),
        block_number="0x1",
        block_hash="0x" + "11" * 32,
        transaction_hash="0x" + "22" * 32,
        transaction_index="0x0",
    )


def group(logs: list[RpcLog]) -> Logs:
    count = len(logs)
    return Logs(
        logs,
        (1 << 32) + np.arange(count, dtype=np.int64),
        np.full(count, 1_700_000_000, dtype=np.int64),
    )


def read(events: list[type[Event]], logs: list[FakeLog | RpcLog]):
    """Facts by event name as lists of rows, and the undecodable logs."""
    received = [rpc_log(log) if isinstance(log, FakeLog) else log for log in logs]
    ((decoder,),) = decoders_for("C", events).values()
    piece, bad = decoder.read(group(received))
    columns = decoder.columns([piece], {event.spec.id for event in events})
    return {found.event.spec.name: table(found) for found in columns}, bad


def table(columns) -> list[dict[str, Any]]:
    named = {
        name: [value_of(columns.event.spec.fields[name], bytes(raw)) for raw in column]
        for name, column in columns.values.items()
    }
    return [
        {"position": int(position), **{name: named[name][at] for name in named}}
        for at, position in enumerate(columns.positions)
    ]


def value_of(field, raw: bytes) -> Any:
    """A column's value back in Python form."""
    if field.kind is FieldKind.BYTES:
        return raw
    if field.kind is FieldKind.BIGINT:
        return struct.unpack(">q", raw)[0]
    if field.kind is FieldKind.BOOLEAN:
        return raw == b"\x01"
    if field.kind is FieldKind.TEXT:
        return raw.decode()
    if field.kind is FieldKind.JSON:
        assert raw[0] == 1
        return json.loads(raw[1:])
    count, weight, sign, _ = struct.unpack(">hhHh", raw[:8])
    digits = struct.unpack(f">{count}h", raw[8:])
    number = sum(d * 10_000 ** (weight - at) for at, d in enumerate(digits))
    return -number if sign else number


MIXED = abi_event(
    "Mixed",
    ("address", "who", True),
    ("string", "title", True),
    ("int64", "delta", True),
    ("uint256", "amount", False),
    ("bool", "open", False),
    ("bytes4", "tag", False),
    ("uint64", "small", False),
    ("function", "callback", False),
)
TEXTS = abi_event(
    "Texts",
    ("bytes32", "id", True),
    ("string", "title", False),
    ("uint8", "kind", False),
    ("bytes", "blob", False),
)
DEEP = abi_event(
    "Deep",
    (([("uint256", "amount"), ("string", ""), ("bytes2[]", "tags")], "[]"), "rows",
     False),
    ("int8[2]", "pair", False),
)  # fmt: skip
ALL = Contract("C", abi=[MIXED, TEXTS, DEEP])


class Mixed(Event):
    source = ALL
    emitter_ = Address(emitter=True)
    who = Address()
    title = Hash()
    delta = Int(64)
    amount = Uint()
    open = Bool()
    tag = FixedBytes(4)
    small = Uint(64)
    callback = Blob()


class Texts(Event):
    source = ALL
    id = Bytes32()
    title = Text()
    kind = Uint(8)
    blob = Blob()


class Deep(Event):
    source = ALL
    rows = Json()
    pair = Json()


def mixed(**changes) -> FakeLog:
    values = {
        "who": b"\x01" * 20,
        "title": "héllo",
        "delta": -5,
        "amount": 2**256 - 1,
        "open": True,
        "tag": b"abcd",
        "small": 2**64 - 1,
        "callback": b"\x07" * 24,
    }
    return log_for(Mixed, EMITTER, **{**values, **changes})


def test_a_log_of_one_word_values_becomes_a_row():
    facts, bad = read([Mixed], [mixed(), mixed(amount=0, delta=2**63 - 1)])

    assert bad == []
    assert facts["Mixed"][0] == {
        "position": 1 << 32,
        "emitter_": EMITTER,
        "who": b"\x01" * 20,
        "title": keccak("héllo".encode()),
        "delta": -5,
        "amount": 2**256 - 1,
        "open": True,
        "tag": b"abcd",
        "small": 2**64 - 1,
        "callback": b"\x07" * 24,
    }
    assert (facts["Mixed"][1]["amount"], facts["Mixed"][1]["delta"]) == (0, 2**63 - 1)


def test_strings_and_bytes_become_text_and_bytea():
    facts, bad = read(
        [Texts],
        [
            log_for(Texts, EMITTER, id=b"i" * 32, title="a\0b", kind=3, blob=b""),
            log_for(Texts, EMITTER, id=b"j" * 32, title="", kind=255, blob=b"x" * 33),
        ],
    )

    assert bad == []
    assert [(r["title"], r["kind"], r["blob"]) for r in facts["Texts"]] == [
        ("a\ufffdb", 3, b""),
        ("", 255, b"x" * 33),
    ]


def test_arrays_and_structs_become_json():
    rows = [(2**256 - 1, "é\0", [b"ab", b"cd"]), (0, "", [])]

    facts, bad = read([Deep], [log_for(Deep, EMITTER, rows=rows, pair=[-128, 127])])

    assert bad == []
    assert facts["Deep"][0]["rows"] == [
        {"amount": str(2**256 - 1), "1": "é\ufffd", "tags": ["0x6162", "0x6364"]},
        {"amount": "0", "1": "", "tags": []},
    ]
    assert facts["Deep"][0]["pair"] == ["-128", "127"]


def test_one_bad_log_leaves_the_others():
    short = mixed()
    short = FakeLog(short.address, short.topics, short.data[:-1])
    fewer = FakeLog(EMITTER, mixed().topics[:3], mixed().data)
    padded = mixed().data[:32] + b"\x01" + mixed().data[33:]
    dirty = FakeLog(EMITTER, mixed().topics, padded)
    topic = FakeLog(
        EMITTER, [mixed().topics[0], b"\xff" * 32, *mixed().topics[2:]], mixed().data
    )

    facts, bad = read([Mixed], [mixed(), short, fewer, mixed(amount=7), dirty, topic])

    most = 2**256 - 1
    assert [row["amount"] for row in facts["Mixed"]] == [most, 7, most, most]
    assert [row["position"] - (1 << 32) for row in facts["Mixed"]] == [0, 3, 4, 5]
    assert [log.position - (1 << 32) for log in bad] == [1, 2, 4, 5]
    assert [log.kept for log in bad] == [False, False, True, True]
    assert bad[0].data == short.data
    assert list(bad[1].topics) == list(fewer.topics)
    assert (bad[2].emitter, bad[2].transaction) == (EMITTER, b"\x22" * 32)
    assert bad[0].event == (
        "C.Mixed(address,string,int64,uint256,bool,bytes4,uint64,function)"
    )
    assert "topics" in bad[1].reason
    assert "open" in bad[2].reason
    assert "who" in bad[3].reason


def test_bytes_after_the_last_value_are_ignored():
    """As eth_abi ignores them: a contract may append to its events."""
    longer = FakeLog(EMITTER, mixed().topics, mixed().data + b"\xff" * 5)

    facts, bad = read([Mixed], [mixed(amount=1), longer])

    assert bad == []
    assert [row["amount"] for row in facts["Mixed"]] == [1, 2**256 - 1]


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe\xfd", "ab\xe9".encode("latin-1"), b"a\x80b"]
)
def test_text_that_is_not_utf8_is_kept_and_the_row_is_marked(raw):
    """Solidity checks no text: any issuer may write Latin-1, or write it on purpose."""
    good = log_for(Texts, EMITTER, id=b"i" * 32, title="abc", kind=3, blob=b"")
    bad_text = FakeLog(EMITTER, good.topics, good.data.replace(b"abc", raw))

    facts, odd = read([Texts], [bad_text, good])

    titles = [row["title"] for row in facts["Texts"]]
    assert titles == [raw.decode(errors="replace"), "abc"]
    assert [(log.kept, log.data) for log in odd] == [(True, bad_text.data)]
    assert "title" in odd[0].reason


def test_text_in_a_struct_that_is_not_utf8_is_kept_too():
    good = log_for(Deep, EMITTER, rows=[(5, "inner", [b"ab"])], pair=[1, -2])
    bad = FakeLog(EMITTER, good.topics, good.data.replace(b"inner", b"inn\xe9r"))

    facts, odd = read([Deep], [bad])

    assert [row["rows"][0]["1"] for row in facts["Deep"]] == ["inn\ufffdr"]
    assert [log.kept for log in odd] == [True]


def test_a_text_whose_padding_is_left_out_is_read():
    """The last value of the data need not be padded: some compilers do not."""
    whole = log_for(Texts, EMITTER, id=b"i" * 32, title="abc", kind=3, blob=b"12345")
    cut = FakeLog(EMITTER, whole.topics, whole.data[:-27])

    facts, odd = read([Texts], [cut, whole])

    assert odd == []
    assert facts["Texts"][0]["blob"] == facts["Texts"][1]["blob"] == b"12345"


def test_words_with_bits_beyond_their_type_are_read_as_solidity_does():
    good = mixed()
    who = b"\x77" * 12 + good.topics[1][12:]
    dirty = FakeLog(EMITTER, [good.topics[0], who, *good.topics[2:]], good.data)

    facts, odd = read([Mixed], [good, dirty])

    first, second = facts["Mixed"]
    assert {**first, "position": 0} == {**second, "position": 0}
    assert [log.kept for log in odd] == [True]


@pytest.mark.parametrize(
    "change",
    [
        {"data": "0x" + "zz" * 160},
        {"data": "0xabc"},
        {"data": ""},
        {"address": "0x1234"},
        {"transaction_hash": "0x" + "2 " * 32},
        {"topics": [*rpc_log(mixed()).topics[:3], "1x" + "00" * 32]},
    ],
)
def test_what_is_not_hex_is_the_nodes_fault(change):
    """Nothing is stored about it: the node is asked again."""
    log = rpc_log(mixed())
    for name, value in change.items():
        setattr(log, name, value)

    with pytest.raises(Malformed):
        read([Mixed], [log, log])


def test_where_splits_one_event_into_several():
    class Opened(Event):
        source = ALL
        name = "Mixed"
        where = {"open": True, "who": "0x" + "01" * 20}
        amount = Uint()

    class Closed(Event):
        source = ALL
        name = "Mixed"
        where = {"open": False}
        amount = Uint()

    logs = [
        mixed(amount=1),
        mixed(amount=2, open=False),
        mixed(amount=3, who=b"\x02" * 20),
    ]

    facts, _ = read([Opened, Closed, Mixed], logs)

    assert {name: [r["amount"] for r in rows] for name, rows in facts.items()} == {
        "Opened": [1],
        "Closed": [2],
        "Mixed": [1, 2, 3],
    }


def test_where_on_an_event_with_strings():
    class Special(Event):
        source = ALL
        name = "Texts"
        where = {"kind": 201}
        title = Text()

    logs = [
        log_for(Texts, EMITTER, id=b"i" * 32, title=str(kind), kind=kind, blob=b"")
        for kind in (201, 7, 201)
    ]

    facts, _ = read([Special], logs)

    assert [row["title"] for row in facts["Special"]] == ["201", "201"]


def test_where_that_nothing_meets_gives_no_facts():
    class Never(Event):
        source = ALL
        name = "Mixed"
        where = {"amount": 12345}
        amount = Uint()
        delta = Int(64)

    facts, bad = read([Never], [mixed()])

    assert (facts, bad) == ({}, [])


def test_pieces_of_one_event_are_joined_in_order():
    ((decoder,),) = decoders_for("C", [Mixed]).values()
    first, _ = decoder.read(group([rpc_log(mixed(amount=1))]))
    second, _ = decoder.read(group([rpc_log(mixed(amount=2**255))]))

    (columns,) = decoder.columns([first, second], {Mixed.spec.id})

    assert [row["amount"] for row in table(columns)] == [1, 2**255]


def test_overloads_are_told_apart_by_their_hash():
    one = abi_event("Paid", ("uint256", "amount", False))
    two = abi_event("Paid", ("uint256", "amount", False), ("address", "to", False))
    both = Contract("Pay", abi=[one, two])

    class Paid(Event):
        source = both
        name = "Paid(uint256)"
        amount = Uint()

    class PaidTo(Event):
        source = both
        name = "Paid(uint256,address)"
        amount = Uint()

    decoders = decoders_for("Pay", [Paid, PaidTo])

    assert len(decoders) == 2
    assert {d.events for (d,) in decoders.values()} == {(Paid,), (PaidTo,)}


def test_anonymous_events_are_refused_when_they_are_declared():
    silent = Contract(
        "S", abi=[abi_event("Silent", ("uint256", "amount", False), anonymous=True)]
    )

    class Silent(Event):
        source = silent
        amount = Uint()

    with pytest.raises(DeclarationError, match="anonymous"):
        decoders_for("S", [Silent])


def test_an_event_without_values_has_no_data():
    bare = Contract("B", abi=[abi_event("Paused")])

    class Paused(Event):
        source = bare
        by = Address(emitter=True)

    facts, bad = read([Paused], [log_for(Paused, EMITTER)] * 2)

    assert bad == []
    assert [row["by"] for row in facts["Paused"]] == [EMITTER] * 2


ELEMENTARY = ["address", "bool", "function", "string", "bytes"]
ELEMENTARY += [f"{sign}int{bits}" for sign in ("", "u") for bits in range(8, 257, 8)]
ELEMENTARY += [f"bytes{size}" for size in range(1, 33)]


def values_of(kind) -> st.SearchStrategy[Any]:
    """Values of a type, extremes often among them."""
    if not isinstance(kind, str):
        parts, suffix = kind
        inner = st.tuples(*(values_of(part) for part, _ in parts))
        return arrays(inner, suffix)
    if "[" in kind:
        base, _, suffix = kind.partition("[")
        return arrays(values_of(base), "[" + suffix)
    if kind == "address":
        return st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
    if kind == "bool":
        return st.booleans()
    if kind == "string":
        return st.text(max_size=70)
    if kind == "bytes":
        return st.binary(max_size=70)
    if kind == "function" or kind.startswith("bytes"):
        size = 24 if kind == "function" else int(kind[5:])
        return st.binary(min_size=size, max_size=size)
    bits = int(kind.removeprefix("u")[3:])
    low = 0 if kind[0] == "u" else -(2 ** (bits - 1))
    high = low + 2**bits - 1
    return st.one_of(st.sampled_from([low, high, 0]), st.integers(low, high))


def arrays(inner: st.SearchStrategy[Any], suffix: str) -> st.SearchStrategy[Any]:
    for size in re.findall(r"\[(\d*)\]", suffix):
        if size:
            inner = st.lists(inner, min_size=int(size), max_size=int(size)).map(tuple)
        else:
            inner = st.lists(inner, max_size=3).map(tuple)
    return inner


elementary = st.sampled_from(ELEMENTARY)
suffixes = st.lists(st.sampled_from(["[]", "[1]", "[2]"]), max_size=2).map("".join)
with_arrays = st.builds(lambda kind, suffix: kind + suffix, elementary, suffixes)
names = st.sampled_from(["", "a", "b", "c"])
structs = st.recursive(
    with_arrays,
    lambda part: st.tuples(
        st.lists(
            st.tuples(part, st.sampled_from(["", "a", "b", "c"])),
            min_size=1,
            max_size=3,
        ),
        suffixes,
    ),
    max_leaves=4,
)
only_words = elementary.filter(lambda kind: kind not in ("string", "bytes"))


@st.composite
def cases(draw, kinds):
    """An event with non-indexed parameters, values for them, and data, often broken."""
    types = draw(st.lists(kinds, min_size=1, max_size=4))
    event = abi_event("E", *((kind, f"p{at}", False) for at, kind in enumerate(types)))
    layout = layout_of(event)
    names = [param.type for param in layout.body]
    values = [draw(values_of(kind)) for kind in types]
    data = bytearray(encode(names, values))
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.sampled_from(["flip", "cut", "grow", "word"])):
            case "flip" if data:
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            case "cut" if data:
                del data[draw(st.integers(0, len(data) - 1)) :]
            case "grow":
                data += draw(st.binary(max_size=40))
            case "word" if len(data) >= 32:
                at = 32 * draw(st.integers(0, len(data) // 32 - 1))
                word = draw(st.sampled_from([0, 32, 64, 2**255, 2**256 - 1, 2**40]))
                data[at : at + 32] = word.to_bytes(32)
            case _:
                pass
    return event, names, bytes(data)


def oracle(names: list[str], data: bytes, *, strict: bool = True) -> Any:
    try:
        return list(decode(names, data, strict=strict))
    except (DecodingError, ValueError, OverflowError, MemoryError):
        return None


slow = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@slow
@given(cases(structs))
def test_data_decodes_as_eth_abi_decodes_it_or_both_refuse(case):
    event, names, data = case
    layout = layout_of(event)

    notes = []
    try:
        found = list(decode_body(layout, data, notes))
    except AbiDecodeError:
        found = None

    if notes or found is None:
        assert oracle(names, data) is None
    else:
        assert oracle(names, data, strict=False) == found
    if found is not None:
        for param, value in zip(layout.body, found, strict=True):
            json.dumps(plain(param.abi, value))


@slow
@given(cases(elementary))
def test_strings_and_words_decode_as_eth_abi_decodes_them(case):
    event, names, data = case

    notes = []
    try:
        found = list(decode_body(layout_of(event), data, notes))
    except AbiDecodeError:
        found = None

    if notes or found is None:
        assert oracle(names, data) is None
    else:
        assert oracle(names, data, strict=False) == found


@slow
@given(st.lists(cases(only_words), min_size=1, max_size=1), st.data())
def test_columns_of_words_are_what_eth_abi_decodes(case, data):
    """Good logs and a broken one in one batch, by the vectorised path."""
    event, names, broken = case[0]
    params = event["inputs"]
    for param in params:
        param["name"] = "v" + param["name"]
    fields = {
        param["name"]: field_for_abi(param["type"], indexed=False, param=param["name"])
        for param in params
    }
    declared = type(Event)(
        "E", (Event,), {"source": Contract("W", abi=[event]), **fields}
    )
    good = [
        encode(names, [data.draw(values_of(kind)) for kind in names]) for _ in range(2)
    ]
    topic0 = layout_of(event).topic0
    logs = [FakeLog(EMITTER, [topic0], raw) for raw in (good[0], broken, good[1])]

    facts, bad = read([declared], logs)

    expected = [oracle(names, raw) for raw in (good[0], broken, good[1])]
    assert [at for at, values in enumerate(expected) if values is None] == [
        log.position - (1 << 32) for log in bad
    ]
    mended = {log.position for log in bad if log.kept}
    rows = [
        [fields[f"vp{at}"].check(value) for at, value in enumerate(values)]
        for values in expected
        if values is not None
    ]
    assert rows == [
        [row[f"vp{at}"] for at in range(len(names))]
        for row in facts["E"]
        if row["position"] not in mended
    ]
