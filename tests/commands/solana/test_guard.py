"""What a Solana key signs: the message, the rules, the memory, and the day's limits."""

import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey

from commands.errors import SigningHeld, SigningRefused
from commands.solana.guard import (
    COMPUTE_BUDGET,
    Allowance,
    GuardedSigner,
    Rules,
    UnknownSignatures,
)
from commands.solana.signers import LocalSigner, Payload
from commands.solana.transaction import Budget, compile_message
from db.commands.solana.memory import LAMPORTS, spent
from db.commands.states import Hold
from db.commands.stops import EVERYTHING, allow_signing, stop_signing

CHAIN = "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"
PAYER = Keypair.from_seed(bytes(range(7, 39)))
STRANGER = Keypair.from_seed(bytes(range(90, 122)))
PROGRAM = Pubkey.from_bytes(bytes(range(40, 72)))
SETTLE, CLOSE = bytes([9, 80, 7, 6, 5, 4, 3, 2]), bytes([1, 99, 3, 4, 5, 6, 7, 8])
ALLOW = (Allowance(bytes(PROGRAM), frozenset({SETTLE})),)
MINT = bytes(range(100, 132))
EVENING = datetime(2026, 8, 3, 21, 40, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = EVENING

    def __call__(self):
        return self.now


@pytest.fixture
def engine(migrated_engine):
    return migrated_engine


def guard(engine, clock=None, **rules):
    local = LocalSigner("treasury", bytes(PAYER.pubkey()), PAYER)
    rules = Rules(name="treasury", chain=CHAIN, **rules)
    return GuardedSigner(engine, local, rules, clock or Clock())


def call(data=SETTLE + b"\x05\x01", program=PROGRAM, others=(31, 77)):
    accounts = [AccountMeta(PAYER.pubkey(), is_signer=True, is_writable=True)]
    accounts += [
        AccountMeta(
            Pubkey.from_bytes(bytes([n, *range(1, 32)])),
            is_signer=False,
            is_writable=n % 2 == 0,
        )
        for n in others
    ]
    return Instruction(program, data, accounts)


def message(*instructions, blockhash=61, payer=PAYER, price=1_234):
    if len(instructions) == 1:
        return compile_message(
            instructions[0], bytes(payer.pubkey()), bytes([blockhash]) * 32,
            Budget(98_765, price),
        )  # fmt: skip
    return MessageV0.try_compile(
        payer.pubkey(), list(instructions), [], Hash(bytes([blockhash]) * 32)
    )


def asked(made=None, intent=b"\x11\x22", **changes):
    raw = (
        made if isinstance(made, bytes) else to_bytes_versioned(made or message(call()))
    )
    return replace(Payload(raw, intent, 3_456, 789), **changes)


def refused(engine, made, **rules):
    with pytest.raises(SigningRefused) as found:
        guard(engine, **rules).sign(asked(made))
    assert guard(engine).recall(b"\x11\x22", frozenset()) == []
    return str(found.value)


class TestTheMessage:
    def test_what_is_allowed_is_signed_by_the_key(self, engine):
        made = message(call())

        signature = guard(engine, allow=ALLOW).sign(asked(made))

        assert signature == bytes(PAYER.sign_message(to_bytes_versioned(made)))

    def test_a_legacy_message_is_refused(self, engine):
        old = Message.new_with_blockhash(
            [call()], PAYER.pubkey(), Hash(bytes([8]) * 32)
        )

        assert "version 0" in refused(engine, bytes(old))

    def test_accounts_out_of_a_lookup_table_are_refused(self, engine):
        wanted = call(others=(12, 14, 16))
        table = AddressLookupTableAccount(
            Pubkey.from_bytes(bytes([3, *range(1, 32)])),
            [meta.pubkey for meta in wanted.accounts[1:]],
        )
        made = MessageV0.try_compile(
            PAYER.pubkey(), [wanted], [table], Hash(bytes([8]) * 32)
        )
        assert made.address_table_lookups

        assert "lookup tables" in refused(engine, made)

    def test_what_a_second_key_signs_too_is_refused(self, engine):
        both = call()
        signer = AccountMeta(STRANGER.pubkey(), is_signer=True, is_writable=False)
        with_both = Instruction(PROGRAM, bytes(both.data), [*both.accounts, signer])

        assert "alone" in refused(engine, message(with_both, call()))

    def test_what_another_pays_for_is_refused(self, engine):
        of_other = Instruction(PROGRAM, SETTLE, [])

        assert "alone" in refused(engine, message(of_other, payer=STRANGER))

    @pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 9, b"\x80" + bytes(40)])
    def test_what_is_no_message_is_refused(self, engine, raw):
        assert "treasury" in refused(engine, raw)

    def test_an_instruction_of_accounts_that_are_not_there_is_refused(self, engine):
        raw = bytearray(to_bytes_versioned(message(call())))
        places = bytes(message(call()).instructions[-1].accounts)
        at = raw.rindex(places)
        raw[at] = 0xF0

        assert "does not have" in refused(engine, bytes(raw))

    @settings(max_examples=400, deadline=None)
    @given(at=st.integers(0, 400), byte=st.integers(0, 255), cut=st.booleans())
    def test_any_byte_may_change_and_it_is_signed_or_refused(self, at, byte, cut):
        """Without a memory: `_check` reads the message alone."""
        raw = bytearray(to_bytes_versioned(message(call())))
        raw[at % len(raw)] = byte
        signer = guard(None, allow=ALLOW, price_max=10_000)
        with suppress(SigningRefused, SigningHeld):
            assert len(signer._check(bytes(raw[: at % len(raw)] if cut else raw))) == 32


class TestTheRules:
    @pytest.mark.parametrize(
        "instruction",
        [
            call(CLOSE),
            call(SETTLE[:7]),
            call(b""),
            call(program=Pubkey.from_bytes(bytes(range(41, 73)))),
        ],
    )
    def test_another_instruction_is_refused(self, engine, instruction):
        assert "add it to its allow" in refused(
            engine, message(instruction), allow=ALLOW
        )

    def test_one_that_is_not_allowed_beside_one_that_is(self, engine):
        assert "may not call" in refused(
            engine, message(call(), call(CLOSE)), allow=ALLOW
        )

    def test_a_price_above_the_most_is_held(self, engine):
        signer = guard(engine, price_max=5_000)
        signer.sign(asked(message(call(), price=5_000)))

        with pytest.raises(SigningHeld, match="priority_fee_max") as held:
            signer.sign(asked(message(call(), price=5_001), intent=b"\x33"))
        assert held.value.hold is Hold.CEILING

    def test_the_second_of_two_prices_counts_too(self, engine):
        both = [set_compute_unit_price(10), set_compute_unit_price(9_000), call()]

        with pytest.raises(SigningHeld, match="not 9000"):
            guard(engine, price_max=5_000).sign(asked(message(*both)))

    @pytest.mark.parametrize(
        "data",
        [
            b"", b"\x00" * 9, b"\x03", b"\x03" + bytes(7), b"\x03" + bytes(9),
            b"\x05" + bytes(4), b"\x02" + bytes(8),
        ],
        ids=lambda data: data.hex() or "nothing",
    )  # fmt: skip
    def test_what_the_compute_budget_does_not_know_is_refused(self, engine, data):
        odd = Instruction(Pubkey.from_string(COMPUTE_BUDGET), data, [])

        assert "compute budget" in refused(engine, message(odd, call()), allow=ALLOW)

    def test_every_known_one_of_the_compute_budget_is_signed(self, engine):
        budget = Pubkey.from_string(COMPUTE_BUDGET)
        each = [
            Instruction(budget, struct.pack("<BI", tag, 65_537), [])
            for tag in (1, 2, 4)
        ]

        assert guard(engine, allow=ALLOW).sign(asked(message(*each, call())))


class TestTheMemory:
    def test_another_blockhash_and_price_are_the_same_request(self, engine):
        signer = guard(engine)
        first = signer.sign(asked())
        again = message(call(), blockhash=62, price=999)

        with pytest.raises(UnknownSignatures) as found:
            signer.sign(asked(again))
        assert [each.signature for each in found.value.found] == [first]
        assert [
            (each.slot, each.last_valid)
            for each in signer.recall(b"\x11\x22", frozenset())
        ] == [(789, 3_456)]

        second = signer.sign(asked(again, settled=frozenset({first})))
        assert second != first
        assert signer.recall(b"\x11\x22", frozenset({first, second})) == []

    @pytest.mark.parametrize(
        "other",
        [
            (call(SETTLE + b"\x05\x02"),),
            (call(others=(31, 79)),),
            (call(others=(77, 31)),),
            (call(), call()),
        ],
    )
    def test_another_call_for_the_same_request_is_refused(self, engine, other):
        signer = guard(engine)
        first = signer.sign(asked())

        with pytest.raises(SigningRefused, match="signed something else"):
            signer.sign(asked(message(*other), settled=frozenset({first})))

    def test_accounts_of_one_name_stand_for_each_other_once_the_first_is_dead(
        self, engine
    ):
        one, two, three = (bytes([n, *range(1, 32)]) for n in (31, 77, 13))
        rules = {"named": {one: "treasury", two: "treasury", three: "usdc"}}
        first = guard(engine, **rules).sign(asked(message(call(others=(31, 8)))))
        other = asked(message(call(others=(77, 8)), blockhash=5))

        with pytest.raises(UnknownSignatures):
            guard(engine, **rules).sign(other)
        dead = replace(other, settled=frozenset({first}))
        with pytest.raises(SigningRefused, match="must never differ"):
            guard(engine).sign(dead)
        strange = message(call(others=(13, 8)), blockhash=5)
        with pytest.raises(SigningRefused, match="must never differ"):
            guard(engine, **rules).sign(asked(strange, settled=frozenset({first})))
        assert guard(engine, **rules).sign(dead) != first

    def test_two_instructions_are_not_one_with_their_accounts(self, engine):
        """What one names as accounts must not pass for another's program and data."""
        data = bytes(PAYER.pubkey())
        one, two = call(others=(30,)), Instruction(PROGRAM, data, [])
        key = AccountMeta(PROGRAM, is_signer=False, is_writable=False)
        payer = AccountMeta(PAYER.pubkey(), is_signer=True, is_writable=True)
        long = Instruction(PROGRAM, bytes(one.data), [*one.accounts, key, payer])
        signer = guard(engine)
        first = signer.sign(asked(message(one, two)))

        with pytest.raises(SigningRefused, match="signed something else"):
            signer.sign(asked(message(long), settled=frozenset({first})))


@dataclass
class Spending:
    """A day's spending of one key; each request has an intent of its own."""

    signer: GuardedSigner
    made: list = field(default_factory=list)

    def spend(self, lamports=0, tokens=0, **changes):
        intent = len(self.made).to_bytes(4, "big")
        self.made.append(
            self.signer.sign(
                asked(
                    intent=intent,
                    lamports=lamports,
                    tokens=((MINT, tokens),),
                    **changes,
                )
            )
        )

    def held(self, lamports=0, tokens=0, **changes):
        with pytest.raises(SigningHeld) as found:
            self.spend(lamports, tokens, **changes)
        return found.value.hold


class TestTheDay:
    def test_the_limits_of_a_day_are_of_each_asset(self, engine):
        clock = Clock()
        limits = {LAMPORTS: 70_001, MINT: 12_345}
        day = Spending(guard(engine, clock, limits=limits))
        day.spend(30_000, 12_000)
        day.spend(40_001, 345)

        assert day.held(1) is Hold.BUDGET
        assert day.held(tokens=1) is Hold.BUDGET
        clock.now += timedelta(hours=3)
        day.spend(70_001, 12_345)

    def test_what_is_signed_anew_counts_once(self, engine):
        day = Spending(guard(engine, limits={LAMPORTS: 100}))
        day.spend(60)
        again = asked(message(call(), blockhash=62), bytes(4), lamports=60)
        day.signer.sign(replace(again, settled=frozenset(day.made)))

        day.spend(40)
        assert day.held(1) is Hold.BUDGET

    def test_signatures_that_nobody_gave_do_not_hide_what_is_spent(self, engine):
        """A worker that lies about what it settled spends no more than the day's."""
        day = Spending(guard(engine, limits={LAMPORTS: 100}))
        made_up = frozenset({bytes(range(64))})
        day.spend(60, settled=made_up)

        assert day.held(41, settled=made_up) is Hold.BUDGET
        with engine.connect() as connection:
            found = spent(connection, CHAIN, day.signer.address, LAMPORTS, EVENING)
        assert found == 60

    @pytest.mark.parametrize("name", ["treasury", EVERYTHING])
    def test_a_stopped_signer_signs_again_when_it_may(self, engine, name):
        with engine.begin() as connection:
            stop_signing(connection, name, "a test", EVENING)
        day = Spending(guard(engine))

        assert day.held() is Hold.STOPPED
        with engine.begin() as connection:
            allow_signing(connection, name)
        day.spend()
