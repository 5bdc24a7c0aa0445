"""A key of Solana in another process: what comes back is verified, and never twice."""

import contextlib
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey

from commands.errors import SigningHeld, SigningRefused
from commands.signing.server import open_server
from commands.solana.guard import Allowance, GuardedSigner, Rules, UnknownSignatures
from commands.solana.remote import RemoteSigner
from commands.solana.served import (
    RECALL,
    SIGN,
    as_given,
    as_parameter,
    as_payload,
    methods,
    of_payload,
    read_given,
)
from commands.solana.signers import LocalSigner, Payload
from commands.solana.transaction import Budget, compile_message
from db.commands.solana.memory import GivenSignature
from db.commands.states import Hold
from db.commands.stops import EVERYTHING, stop_signing
from idl.base58 import to_base58

KEY = Keypair.from_seed(bytes(range(32)))
OTHER = Keypair.from_seed(bytes(range(32, 64)))
PROGRAM = bytes(range(64, 96))
ADDRESS = bytes(KEY.pubkey())
NOW = datetime(2026, 8, 3, 12, tzinfo=UTC)
ALLOW = (Allowance(PROGRAM, frozenset({b"\x07"})),)


def message(data=b"\x07\x01", blockhash=9):
    meta = AccountMeta(KEY.pubkey(), is_signer=True, is_writable=True)
    call = Instruction(Pubkey.from_bytes(PROGRAM), data, [meta])
    made = compile_message(call, ADDRESS, bytes([blockhash]) * 32, Budget(9_000, 5))
    return to_bytes_versioned(made)


def payload(**changes):
    return replace(Payload(message(), b"an intent", 700, 650), **changes)


def guard(engine):
    rules = Rules("s", "solana:test", allow=ALLOW, limits={b"": 10_000})
    return GuardedSigner(engine, LocalSigner("s", ADDRESS, KEY), rules, lambda: NOW)


@contextlib.contextmanager
def serving(listen, answers):
    with open_server(listen, answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def url(tmp_path):
    return f"unix:{tmp_path / 'sign.sock'}"


@pytest.fixture
def signer(migrated_engine, url):
    with serving(url, methods({ADDRESS: guard(migrated_engine)})):
        yield RemoteSigner("s", ADDRESS, url, 5.0)


def test_what_is_allowed_is_signed_as_by_the_key(signer):
    assert signer.recall(b"an intent", frozenset()) == []

    signature = signer.sign(payload())

    assert signature == bytes(KEY.sign_message(message()))
    given_before = GivenSignature(signature, 650, 700)
    assert signer.recall(b"an intent", frozenset()) == [given_before]
    assert signer.recall(b"an intent", frozenset({signature})) == []


def test_what_was_signed_and_not_heard_of_is_told_instead_of_another(signer):
    first = signer.sign(payload())
    with pytest.raises(UnknownSignatures) as found:
        signer.sign(payload(message=message(blockhash=10), slot=800, last_valid=900))
    assert found.value.found == [GivenSignature(first, 650, 700)]

    again = signer.sign(
        payload(message=message(blockhash=10), settled=frozenset({first}))
    )
    assert again == bytes(KEY.sign_message(message(blockhash=10)))


def test_the_rules_are_those_of_the_process_with_the_key(signer, migrated_engine):
    with pytest.raises(SigningRefused, match="may not call 0x08"):
        signer.sign(payload(message=message(b"\x08")))
    with pytest.raises(SigningHeld, match="lamports_per_day") as held:
        signer.sign(payload(lamports=10_001))
    assert held.value.hold is Hold.BUDGET
    with migrated_engine.begin() as connection:
        stop_signing(connection, EVERYTHING, "a drill", NOW)
    with pytest.raises(SigningHeld, match="was stopped") as held:
        signer.sign(payload())
    assert held.value.hold is Hold.STOPPED


def test_another_account_is_refused(signer):
    stranger = replace(signer, address=bytes(OTHER.pubkey()))
    with pytest.raises(SigningRefused, match=f"no key for {OTHER.pubkey()} here"):
        stranger.sign(payload())


@pytest.mark.parametrize(
    "answer",
    [
        {"signature": to_base58(bytes(OTHER.sign_message(message())))},
        {"signature": to_base58(bytes(KEY.sign_message(message(blockhash=1))))},
        {"signature": to_base58(bytes(64))}, {"signature": "0OIl"}, {"signature": 7},
        {"unknown": [{"signature": "x"}]}, {"unknown": 3}, {}, [], None, "1" * 64,
    ],
)  # fmt: skip
def test_what_is_no_signature_of_just_these_bytes_is_not_believed(url, answer):
    with serving(url, {SIGN: lambda _: answer, RECALL: lambda _: answer}):
        signer = RemoteSigner("s", ADDRESS, url, 5.0)
        with pytest.raises(SigningHeld, match="signer s cannot be used") as held:
            signer.sign(payload())
    assert held.value.hold is Hold.SIGNER_UNAVAILABLE


def test_a_process_that_is_not_there_or_knows_no_solana_holds_the_signer(url):
    with pytest.raises(SigningHeld, match="does not answer"):
        RemoteSigner("s", ADDRESS, url, 5.0).sign(payload())
    with serving(url, {}):
        signer = RemoteSigner("s", ADDRESS, url, 5.0)
        with pytest.raises(SigningHeld):
            signer.sign(payload())
        with pytest.raises(SigningHeld):
            signer.recall(b"", frozenset())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account", "0x12"), ("account", 3), ("account", None), ("message", "%"),
        ("message", 4), ("slot", "7"), ("slot", 1 << 64), ("slot", True),
        ("last_valid", 1.5), ("lamports", None), ("tokens", [["x", 1]]),
        ("tokens", [1]), ("tokens", 5), ("settled", ["x"]), ("settled", 3),
        ("intent", "?"), ("intent", "A" * 4_000),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_and_the_next_is_signed(signer, name, value):
    wrong = {**of_payload(ADDRESS, payload()), name: value}
    with pytest.raises(SigningRefused, match="nothing to sign"):
        signer._port().ask(SIGN, wrong)
    assert signer.sign(payload()) == bytes(KEY.sign_message(message()))


KEYS, SIGNATURES = (st.binary(min_size=n, max_size=n) for n in (32, 64))
AMOUNTS = st.lists(st.tuples(KEYS, st.integers(-(2**62), 2**62)), max_size=3)
NUMBERS = st.integers(0, 2**63 - 1)


@given(
    st.builds(
        Payload, message=st.binary(max_size=1_300), intent=st.binary(max_size=64),
        last_valid=NUMBERS, slot=NUMBERS, settled=st.frozensets(SIGNATURES, max_size=3),
        lamports=st.integers(-(2**63) + 1, 2**63 - 1),
        tokens=AMOUNTS.map(tuple),
    )
)  # fmt: skip
def test_a_payload_is_the_same_at_the_other_end(made):
    said = json.loads(json.dumps(of_payload(ADDRESS, made)))
    assert as_payload(said) == made
    both = as_parameter(ADDRESS, made.intent, made.settled)
    assert {name: said[name] for name in both} == both


@given(st.lists(st.builds(GivenSignature, SIGNATURES, NUMBERS, NUMBERS), max_size=4))
def test_signatures_are_the_same_at_the_other_end(found):
    assert read_given(json.loads(json.dumps(as_given(found)))) == found
