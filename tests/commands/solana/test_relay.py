"""What is relayed calls what is followed, and does nothing else that is not listed."""

import struct
import uuid
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)

from commands.errors import BadTransaction
from commands.lane import ChainRequired, OtherChain
from commands.solana.asked import memo_of
from commands.solana.extras import Extras
from commands.solana.messages import read_transaction
from commands.solana.relay import INSTRUCTIONS_MAX, calls_of, check_relayable
from commands.submit import CommandService, Submission
from db.journal.append import Actor
from devnet.solana import version1
from helpers.wallet_book import key_of, signed

ID = uuid.UUID("0193a4c0-1111-7222-8333-944455556666")
M = AccountMeta
WALLET, OTHER = key_of("anna"), key_of("ben")
ANNA, BEN = WALLET.pubkey(), OTHER.pubkey()
PROGRAM, SECOND, GUARD, SHOP = (
    key_of(name).pubkey() for name in ("program", "second", "guard", "shop")
)
READ, WRITTEN = key_of("read").pubkey(), key_of("written").pubkey()
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
BLOCKHASH = Hash.new_unique()
CALL = Instruction(
    PROGRAM, b"call me", [M(ANNA, True, False), M(WRITTEN, False, True)]
)  # fmt: skip
LANE = SimpleNamespace(
    followed={bytes(PROGRAM): None, bytes(SECOND): None},
    extras=Extras(
        guards=frozenset({bytes(GUARD)}),
        guards_most=2,
        fees={bytes(SHOP): 5_000},
        price_max=1_000,
    ),
)


def composed(instructions, *, legacy=False, payer=WALLET, keys=()):
    if legacy:
        message = Message.new_with_blockhash(instructions, payer.pubkey(), BLOCKHASH)
    else:
        message = MessageV0.try_compile(payer.pubkey(), instructions, [], BLOCKHASH)
    return signed(message, payer, *keys)


def check(raw):
    return check_relayable(read_transaction(bytes(raw)), LANE)


def paid(to=SHOP, lamports=5_000, by=ANNA):
    return transfer(TransferParams(from_pubkey=by, to_pubkey=to, lamports=lamports))


def guard(*accounts):
    return Instruction(GUARD, b"\x05assert", [M(*each) for each in accounts])


@pytest.mark.parametrize("legacy", [False, True])
def test_calls_of_followed_programs_are_taken_with_what_is_listed(legacy):
    found = check(
        composed(
            [
                set_compute_unit_limit(90_000), set_compute_unit_price(1_000), paid(),
                CALL, Instruction(SECOND, b"", []), guard((WRITTEN, False, False)),
            ],
            legacy=legacy,
        )
    )  # fmt: skip

    assert found.payer == bytes(ANNA)
    assert (found.call.program, found.call.data) == (bytes(PROGRAM), b"call me")
    assert found.fee == 5_000 + 90 + 5_000


def test_others_may_sign_what_a_followed_program_asks_of_them():
    call = Instruction(PROGRAM, b"", [M(BEN, True, True)])

    found = check(composed([call], keys=[OTHER]))

    assert (found.payer, found.fee) == (bytes(ANNA), 10_000)


NONCE = advance_nonce_account(
    AdvanceNonceAccountParams(nonce_pubkey=SHOP, authorized_pubkey=ANNA)
)
REFUSED = {
    "nothing at all": ([], "calls no program that is followed, and only"),
    "limits alone": ([set_compute_unit_limit(9)], "calls no program that is followed"),
    "a fee alone": ([paid()], "calls no program that is followed, and only"),
    "a transfer behind": ([CALL, paid(BEN, 1)], r"instruction 2 .*1 lamports to .*no"),
    "a transfer before": ([paid(BEN, 1), CALL], r"instruction 1 .*calls no program"),
    "a fee over its cap": ([CALL, paid(SHOP, 5_001)], r"instruction 2 .*at most 5000"),
    "two fees": ([CALL, paid(SHOP, 1), paid(SHOP, 1)], r"instruction 3 .*no program"),
    "an assignment": (
        [CALL, Instruction(Pubkey.default(), struct.pack("<I", 1) + bytes(BEN),
            [M(ANNA, True, True)])],
        r"instruction 2 .*calls no program",
    ),
    "a token transfer": (
        [CALL, Instruction(TOKEN, struct.pack("<BQ", 3, 9),
            [M(WRITTEN, False, True), M(SHOP, False, True), M(ANNA, True, False)])],
        r"instruction 2 \(0x03.* of Tokenkeg.*calls no program",
    ),
    "a memo": ([CALL, Instruction(BEN, b"hello", [])], r"instruction 2 .*\[wallets"),
    "a command's memo": ([CALL, memo_of(ID)], "id of a command: .*/signed"),
    "a durable nonce": ([NONCE, CALL], r"instruction 1 .*durable nonce.*recent block"),
    "a durable nonce behind": ([CALL, NONCE], r"instruction 2 .*durable nonce"),
    "three guards": ([CALL, guard(), guard(), guard()], r"instruction 4 .*too many"),
    "a guard that writes": ([CALL, guard((READ, False, True))], "may change .*reads"),
    "a guard that changes": ([CALL, guard((TOKEN, False, True))], "may change"),
    "a higher price": ([set_compute_unit_price(1_001), CALL], "more than 1000 micro"),
    "two limits": ([CALL, *[set_compute_unit_limit(9)] * 2], "instruction 3 .*twice"),
    "too many": ([CALL] * (INSTRUCTIONS_MAX + 1), "65 instructions, and 64"),
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_smuggled_in_is_refused_by_its_place(name, legacy):
    instructions, words = REFUSED[name]

    with pytest.raises(BadTransaction, match=words):
        check(composed(instructions, legacy=legacy))


def test_a_signer_that_no_followed_program_asks_for_is_refused():
    with pytest.raises(BadTransaction, match=f"signs for the account {BEN}"):
        check(composed([CALL, guard((BEN, True, False))], keys=[OTHER]))


def test_a_fee_of_another_than_the_payer_is_refused():
    call = Instruction(PROGRAM, b"", [M(BEN, True, True)])

    with pytest.raises(BadTransaction, match="instruction 2 .*calls no program"):
        check(composed([call, paid(by=BEN)], keys=[OTHER]))


def test_an_account_that_nothing_uses_is_refused():
    message = composed([CALL]).message
    more = Message.new_with_compiled_instructions(
        1, 0, message.header.num_readonly_unsigned_accounts + 1,
        [*message.account_keys, READ], BLOCKHASH, message.instructions,
    )  # fmt: skip

    with pytest.raises(BadTransaction, match=f"no instruction uses the account {READ}"):
        check(signed(more, WALLET))


def test_lookup_tables_and_version_1_are_refused_with_the_remedy():
    table = AddressLookupTableAccount(key_of("table").pubkey(), [WRITTEN])
    message = MessageV0.try_compile(ANNA, [CALL], [table], BLOCKHASH)

    with pytest.raises(BadTransaction, match="lookup table .*every account"):
        check(signed(message, WALLET))
    with pytest.raises(BadTransaction, match="version 1.*of version 0"):
        check(version1.sign([CALL], [WALLET], BLOCKHASH))


def test_every_signature_must_be_there_and_be_of_the_message():
    call = Instruction(PROGRAM, b"", [M(BEN, True, False)])
    whole = bytearray(bytes(composed([call], keys=[OTHER])))
    for first in (1, 65):
        lacking = bytes([*whole[:first], *bytes(64), *whole[first + 64 :]])
        with pytest.raises(BadTransaction, match="is not of this message: sign it"):
            check(lacking)
    fewer = b"\1" + whole[1:65] + whole[129:]
    with pytest.raises(BadTransaction):
        check(fewer)


keys = st.one_of(
    st.sampled_from([READ, WRITTEN, SHOP, ANNA, PROGRAM]),
    st.binary(min_size=32, max_size=32).map(Pubkey.from_bytes),
)
instructions = st.builds(
    Instruction,
    st.one_of(
        st.sampled_from([PROGRAM, TOKEN, Pubkey.default(), GUARD, NONCE.program_id]),
        keys,
    ),
    st.one_of(
        st.binary(max_size=24),
        st.builds(
            lambda tag, amount: struct.pack("<IQ", tag, amount),
            st.integers(0, 12), st.integers(0, 2**64 - 1),
        ),
    ),
    st.lists(st.builds(M, keys, st.just(False), st.booleans()), max_size=4),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(instructions, max_size=4), st.booleans())
def test_random_instructions_are_refused_unless_followed_or_listed(added, legacy):
    try:
        raw = composed([CALL, *added], legacy=legacy)
    except Exception:  # it fits into no message
        return
    try:
        found = check(raw)
    except BadTransaction:
        return

    budget = set_compute_unit_limit(1).program_id
    taken = {each.program_id for each in added}
    assert taken <= {PROGRAM, SECOND, GUARD, Pubkey.default(), budget}
    of_calls = {
        meta.pubkey
        for each in [CALL, *added]
        if each.program_id in (PROGRAM, SECOND)
        for meta in each.accounts
    }
    written = {
        key for key, (_, writes) in found.signed.flags.items() if writes
    } - {bytes(ANNA), bytes(SHOP)}  # fmt: skip
    assert written <= {bytes(key) for key in of_calls}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1_400))
def test_garbage_is_refused_and_never_breaks(raw):
    for read in (lambda: check(raw), lambda: calls_of(LANE, raw)):
        with pytest.raises(BadTransaction):
            read()


places = st.integers(0, len(bytes(composed([CALL]))) - 1)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_messages_that_are_signed_anew_never_break_the_checks(changes):
    """Whatever a wallet signs: it is refused, or calls what is followed."""
    message = bytearray(to_bytes_versioned(composed([CALL]).message))
    for at, value in changes:
        message[at % len(message)] = value
    whole = b"\1" + bytes(WALLET.sign_message(bytes(message))) + message
    try:
        found = check(whole)
    except BadTransaction:
        return
    assert found.call.program in LANE.followed


@dataclass
class Lane:
    """A chain to which something may be relayed, or not."""

    name: str
    takes: bool | None  # None: it cannot read it
    relayed: list = field(default_factory=list)

    def is_for(self, raw):
        if self.takes is None:
            raise BadTransaction(f"no transaction of {self.name[:3]}")
        return self.takes

    def relay_any(self, service, raw, asked):
        self.relayed.append(raw)
        return self.name, True


def relay(*lanes, chain=None):
    service = SimpleNamespace(lanes=lanes)
    asked = Submission(Actor("a", "a"), "key", {}, chain=chain)
    return CommandService.relay(service, b"raw", asked)[0]


def test_bytes_go_to_the_chain_that_they_are_for_whatever_its_place():
    evm, none, ours = Lane("evm", None), Lane("sol-a", False), Lane("sol-b", True)

    assert relay(evm, none, ours) == "sol-b"
    assert relay(ours, evm) == "sol-b"
    assert relay(evm, none) == "sol-a"  # which says why not
    assert relay(ours, Lane("sol-c", True), chain="sol-c") == "sol-c"


def test_bytes_for_several_chains_ask_for_a_name_and_for_none_say_why():
    with pytest.raises(ChainRequired) as several:
        relay(Lane("sol-a", True), Lane("sol-b", True))
    with pytest.raises(OtherChain) as unknown:
        relay(Lane("sol-a", True), chain="nowhere")
    with pytest.raises(BadTransaction, match=r"^no transaction of sol$"):
        relay(Lane("sol-a", None), Lane("sol-b", None))
    with pytest.raises(BadTransaction) as both:
        relay(Lane("evm", None), Lane("sol-a", None))

    assert (several.value.choices, unknown.value.choices) == (
        ("sol-a", "sol-b"), ("sol-a",),
    )  # fmt: skip
    assert "as one of evm: no transaction of evm; as one of sol-a: " in str(both.value)
