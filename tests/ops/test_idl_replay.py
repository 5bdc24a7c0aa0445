"""Uploads of IDLs are played again as the programs played them; nothing is guessed."""

from __future__ import annotations

import json
import random
import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.anchor_idls import TAG, deflate
from helpers.solana_calls import Call, key, response
from idl.parse import BYTES_MAX
from indexer.solana.messages import RpcTransaction
from indexer.solana.walk import walk
from ops.errors import OperationError
from ops.idl_replay import CLOSED, UNKNOWN, UploadedIdl, replay, sources_of, steps_of

PROGRAM, OTHER, IDL = key("program"), key("other"), key("idl")
BUFFERS = [key(f"buffer {number}") for number in range(3)]
ACCOUNTS = [IDL, *BUFFERS]
DOCUMENTS = [json.dumps({"number": number}).encode() * 9 for number in range(4)]


def call(data, *accounts):
    return Call(PROGRAM, TAG + data, list(accounts))


def create(account=IDL):
    return call(struct.pack("<BQ", 0, 99), key("payer"), account, key("base"))


def create_buffer(account):
    return call(b"\1", account, key("payer"))


def write(part, account=IDL):
    return call(struct.pack("<BI", 2, len(part)) + part, account, key("payer"))


def set_buffer(buffer, account=IDL):
    return call(b"\3", buffer, account, key("payer"))


def close(account=IDL):
    return call(b"\5", account, key("payer"), key("payer"))


def steps(*slots):
    """The steps of calls, each given with its slot, a transaction for each."""
    answers = [
        response(calls, slot=slot, name=str(at))
        for at, (slot, *calls) in enumerate(slots)
    ]
    found = msgspec.convert(answers, list[RpcTransaction])
    walked = walk(found, {PROGRAM})
    return [
        step
        for each, done in zip(found, walked, strict=True)
        for step in steps_of(each.slot, done)
    ]


class Chain:
    """The bytes of accounts as Anchor's code leaves them, and calls that go well."""

    def __init__(self, chance):
        self.chance = chance
        self.held = {}
        self.slots, self.truth, self.slot = [], [], 1

    def play(self, times):
        for _ in range(times):
            calls = [self.one() for _ in range(self.chance.choice((1, 1, 2, 4)))]
            if self.chance.random() < 0.3:
                calls = [Call(OTHER, b"relay", [], calls)]
            self.slots.append((self.slot, *calls))
            self.truth.append((self.slot, self.held.get(IDL)))
            self.slot += self.chance.choice((0, 1, 5))
        return self

    def one(self):
        chance = self.chance
        account = chance.choice(ACCOUNTS)
        if account not in self.held:
            self.held[account] = b""
            return create() if account == IDL else create_buffer(account)
        what = chance.random()
        if what < 0.1:
            del self.held[account]
            return close(account)
        others = [each for each in self.held if each != account]
        if what < 0.35 and others:
            source = chance.choice(others)
            self.held[account] = self.held[source]
            return set_buffer(source, account)
        if what < 0.45:
            return call(chance.choice((b"\4" + bytes(32), b"\6" + bytes(8))), account)
        held = self.held[account]
        whole = next(
            (each for each in map(zlib.compress, DOCUMENTS) if each.startswith(held)),
            None,
        ) if held else zlib.compress(chance.choice(DOCUMENTS))  # fmt: skip
        rest = b"more" if whole is None else whole[len(held) :]
        part = rest[: chance.choice((0, 7, len(rest), len(rest)))]
        self.held[account] += part
        return write(part, account)

    def in_force(self):
        """The document of each slot in which there was a new one, by plain means."""
        last = dict(self.truth)
        found = []
        for slot, held in last.items():
            inflater = zlib.decompressobj()
            content = inflater.decompress(held or b"")
            if inflater.eof and (not found or found[-1][1] != content):
                found.append((slot, content))
        return found


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_every_version_is_found_in_its_slot(seed, times):
    chain = Chain(random.Random(seed)).play(times)

    found = replay(steps(*chain.slots), IDL)

    assert [(each.slot, each.content) for each in found.versions] == chain.in_force()
    assert found.deflated == chain.held.get(IDL)
    was_there = any(held is not None for _, held in chain.truth)
    assert found.closed == (IDL not in chain.held and was_there) or not was_there


@given(st.integers(0, 2**32), st.integers(1, 60), st.data())
def test_of_a_part_of_the_history_nothing_is_guessed(seed, times, data):
    chain = Chain(random.Random(seed)).play(times)
    first = data.draw(st.integers(0, times))

    found = replay(steps(*chain.slots[first:]), IDL)

    truth = chain.in_force()
    for each in found.versions:
        _, content = max(entry for entry in truth if entry[0] <= each.slot)
        assert content == each.content
    assert found.deflated in (None, chain.held.get(IDL))


def test_what_was_written_before_is_not_known():
    found = replay(steps((3, write(b"x")), (4, write(b"y")), (5, close())), IDL)

    assert (found.versions, found.deflated, found.changed) == ([], None, 5)
    assert found.notes == [(3, UNKNOWN), (5, CLOSED)]
    assert replay(steps((3, set_buffer(BUFFERS[0]))), IDL).notes == [(3, UNKNOWN)]
    assert replay([], IDL).changed is None


def test_a_version_is_of_the_slot_in_which_it_is_whole():
    deflated = deflate(DOCUMENTS[0])

    found = replay(
        steps((3, create()), (4, write(deflated[:9])), (8, write(deflated[9:])),
              (9, write(b"bytes behind its end")), (9, write(b""))),
        IDL,
    )  # fmt: skip

    assert found.versions == [UploadedIdl(8, DOCUMENTS[0])]


def test_of_two_in_one_slot_the_last_is_its_version():
    one, other = map(deflate, DOCUMENTS[:2])

    found = replay(
        steps((3, create(), write(one)), (3, close(), create(), write(other))), IDL
    )

    assert found.versions == [UploadedIdl(3, DOCUMENTS[1])]


def test_buffers_of_buffers_are_read_and_no_others():
    first, second, third = BUFFERS
    copied = steps(
        (3, set_buffer(second, third)), (4, set_buffer(first)),
        (5, set_buffer(third, first)),
    )  # fmt: skip

    assert sources_of(copied, {IDL}) == {first, second, third}
    assert sources_of(copied, {IDL, first}) == {second, third}
    assert sources_of(copied, {key("somebody else's")}) == set()


def test_another_program_with_the_same_bytes_is_not_heard():
    stranger = Call(OTHER, create().data, create().accounts)

    assert steps((3, stranger)) == []


def test_a_bomb_is_no_version():
    bomb = zlib.compress(bytes(BYTES_MAX + 1))

    found = replay(steps((3, create(), write(bomb)), (4, write(b"more"))), IDL)

    assert found.versions == []
    assert found.notes == [(3, f"no IDL: it inflates to more than {BYTES_MAX} bytes")]
    assert found.deflated == bomb + b"more"


def test_a_history_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("ops.idl_replay.WORK_MAX", 10 << 20)
    whole = zlib.compress(bytes(BYTES_MAX))
    many = [(slot, set_buffer(BUFFERS[0])) for slot in range(5, 9)]

    with pytest.raises(OperationError, match="without --history"):
        replay(
            steps((3, create_buffer(BUFFERS[0])), (4, write(whole, BUFFERS[0])), *many),
            IDL,
        )


ODD = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda a, b: bytes([a]) + b, st.integers(0, 9), st.binary(max_size=60)),
    st.builds(
        lambda size, body: b"\2" + struct.pack("<I", size) + body,
        st.integers(0, 2**32 - 1), st.binary(max_size=60),
    ),
)  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9), ODD, st.lists(st.sampled_from(ACCOUNTS), max_size=3)
        ),
        max_size=12,
    )
)
def test_any_bytes_are_played_or_make_their_accounts_unknown(given_calls):
    slots = [(at, call(data, *named)) for at, data, named in sorted(given_calls)]

    found = replay(steps(*slots), IDL)

    assert found.versions == []  # none of these is made of a document


def test_what_is_no_instruction_of_anchors_makes_its_accounts_unknown():
    deflated = deflate(DOCUMENTS[0])
    whole = (3, create(), write(deflated))
    for odd in (b"", b"\7", b"\2\5\0\0\0ab", b"\2\1"):
        found = replay(steps(whole, (4, call(odd, IDL, IDL))), IDL)
        assert (found.deflated, found.notes) == (None, [(4, UNKNOWN)])
        assert found.versions == [UploadedIdl(3, DOCUMENTS[0])]
    beyond = call(b"\3", BUFFERS[0])
    assert replay(steps(whole, (4, beyond)), IDL).deflated == deflated
