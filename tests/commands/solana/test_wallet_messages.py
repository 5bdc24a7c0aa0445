"""What a wallet hands in is just what it was asked to sign, and what is listed."""

import random
import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import (
    request_heap_frame,
    set_compute_unit_limit,
    set_compute_unit_price,
)
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0, from_bytes_versioned, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from commands.errors import BadTransaction
from commands.solana.asked import (
    carries_out,
    check_signed,
    command_named,
    compile_asked,
    memo_of,
)
from commands.solana.extras import Extras
from commands.solana.messages import read_transaction
from commands.solana.transaction import Budget
from helpers.wallet_book import instructions_of, key_of, signed

ID = uuid.UUID("0193a4c0-1111-7222-8333-944455556666")
M = AccountMeta
WALLET, OTHER = key_of("anna"), key_of("ben")
ANNA, BEN = WALLET.pubkey(), OTHER.pubkey()
PROGRAM, GUARD, SHOP = (key_of(n).pubkey() for n in ("program", "guard", "shop"))
READ, WRITTEN = key_of("read").pubkey(), key_of("written").pubkey()
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
DATA = bytes(range(40, 72))
OURS = Instruction(
    PROGRAM,
    DATA,
    [
        M(ANNA, True, False),
        M(WRITTEN, False, True),
        M(READ, False, False),
    ],
)
BLOCKHASH = Hash.new_unique()
LISTED = Extras(
    guards=frozenset({bytes(GUARD)}),
    guards_most=2,
    fees={bytes(SHOP): 5_000},
    price_max=1_000,
)
ASKED = compile_asked(
    bytes(OURS), ID, bytes(ANNA), bytes(BLOCKHASH), Budget(200_000, 7)
)
GIVEN = instructions_of(ASKED)  # limit, price, ours, memo


def check(raw, extras=LISTED, data=None):
    found = read_transaction(bytes(raw))
    return check_signed(
        found, bytes(OURS) if data is None else data, ID, bytes(ANNA), extras
    )


def composed(instructions, *, legacy=False, payer=WALLET, keys=()):
    kind = Message.new_with_blockhash if legacy else None
    message = (
        kind(instructions, payer.pubkey(), BLOCKHASH)
        if kind
        else MessageV0.try_compile(payer.pubkey(), instructions, [], BLOCKHASH)
    )
    return signed(message, payer, *keys)


def guard(*accounts, data=b"\x05assert"):
    return Instruction(GUARD, data, [M(*each) for each in accounts])


def paid(to=SHOP, lamports=5_000, by=WALLET):
    return transfer(
        TransferParams(from_pubkey=by.pubkey(), to_pubkey=to, lamports=lamports)
    )


@pytest.mark.parametrize("legacy", [False, True])
def test_what_was_asked_is_taken_as_it_is(legacy):
    added = check(composed(GIVEN, legacy=legacy))

    assert (added.budget, added.lamports) == (Budget(200_000, 7), 0)


def test_listed_guards_and_fees_are_taken_around_ours():
    whole = [
        paid(), *GIVEN[:2], guard((READ, False, False)), *GIVEN[2:],
        guard((ANNA, True, True)),
    ]  # fmt: skip

    added = check(composed(whole))

    assert (added.lamports, added.paid) == (5_000, {bytes(SHOP)})


def test_a_wallet_may_choose_its_own_limit_and_price_and_leave_them_out():
    own = [set_compute_unit_price(1_000), *GIVEN[2:], set_compute_unit_limit(90_000)]

    assert check(composed(own)).budget == Budget(90_000, 1_000)
    assert check(composed(GIVEN[2:])).budget.price == 0


SMUGGLED = {
    "a transfer": ([*GIVEN, paid(BEN, 1)], r"instruction 5 .*not asked"),
    "a transfer before ours": ([paid(WRITTEN, 1), *GIVEN], r"tion 1 .*not asked"),
    "a fee that is too high": ([*GIVEN, paid(SHOP, 5_001)], r"tion 5 .*most 500"),
    "two fees": ([*GIVEN, paid(SHOP, 1), paid(SHOP, 1)], r"instruction 6 .*not asked"),
    "a transfer with a seed": (
        [*GIVEN, Instruction(Pubkey.default(), struct.pack("<IQ", 11, 9),
            [M(ANNA, True, True), M(SHOP, False, True)])],
        r"instruction 5 .*not asked",
    ),
    "an assignment": (
        [*GIVEN, Instruction(Pubkey.default(), struct.pack("<I", 1) + bytes(BEN),
            [M(ANNA, True, True)])],
        r"instruction 5 .*not asked",
    ),
    "a transfer with more accounts": (
        [*GIVEN, Instruction(Pubkey.default(), struct.pack("<IQ", 2, 9),
            [M(ANNA, True, True), M(SHOP, False, True),
             M(READ, False, False)])],
        r"instruction 5 .*not asked",
    ),
    "a token transfer": (
        [*GIVEN, Instruction(TOKEN, struct.pack("<BQ", 3, 9),
            [M(WRITTEN, False, True), M(SHOP, False, True),
             M(ANNA, True, False)])],
        r"instruction 5 \(0x03.* of Tokenkeg.*not asked",
    ),
    "an approval": (
        [Instruction(TOKEN, struct.pack("<BQ", 4, 9),
            [M(WRITTEN, False, True), M(BEN, False, False),
             M(ANNA, True, False)]), *GIVEN],
        r"instruction 1 .*not asked",
    ),
    "a durable nonce": (
        [Instruction(Pubkey.default(), struct.pack("<I", 4),
            [M(SHOP, False, True), M(ANNA, True, False)]),
         *GIVEN],
        r"instruction 1 .*not asked",
    ),
    "three guards": ([*GIVEN, guard(), guard(), guard()], r"instruction 7 .*too many"),
    "a guard that writes": ([*GIVEN, guard((BEN, False, True))],
                            r"of instruction 5 is unsigned and writable"),
    "a guard that has ours written": ([*GIVEN, guard((READ, False, True))],
                                      r"account .* of instruction 3 is .*writable"),
    "ours twice": ([*GIVEN, GIVEN[2]], r"instruction 5 .*repeats"),
    "the memo twice": ([*GIVEN, GIVEN[3]], r"instruction 5 .*repeats"),
    "another order": ([GIVEN[3], GIVEN[2]], r"instruction 1 .*stands before"),
    "ours left out": ([*GIVEN[:2]], r"is missing"),
    "the memo left out": ([*GIVEN[:3]], r"is missing"),
    "another command's memo": ([*GIVEN[:3], memo_of(uuid.UUID(int=1))],
                               r"instruction 4 .*not what was asked: its data"),
    "two memos": ([*GIVEN, memo_of(uuid.UUID(int=1))], r"instruction 5 .*not what was"),
    "a higher price": ([set_compute_unit_price(1_001), *GIVEN[2:]], r"tion 1 .*1000"),
    "two limits": ([*GIVEN, set_compute_unit_limit(9)], r"instruction 5 .*twice"),
    "a higher limit": ([set_compute_unit_limit(1_400_001), *GIVEN[2:]], "than 1400"),
    "a heap": ([*GIVEN, request_heap_frame(64 * 1024)], r"instruction 5 .*none"),
    "a limit with accounts": (
        [*GIVEN[2:], Instruction(GIVEN[0].program_id, bytes(GIVEN[0].data),
            [M(READ, False, False)])], r"instruction 3 .*accounts"),
    "a program nobody listed": ([*GIVEN, Instruction(BEN, b"x", [])],
                                r"instruction 5 .*not asked"),
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", SMUGGLED)
def test_what_is_smuggled_in_is_refused_by_its_place(name, legacy):
    instructions, words = SMUGGLED[name]

    with pytest.raises(BadTransaction, match=words):
        check(composed(instructions, legacy=legacy))


def test_without_a_list_nothing_is_added():
    for extra in (guard((READ, False, False)), paid(SHOP, 1)):
        with pytest.raises(BadTransaction, match="instruction 5 .*was not asked for"):
            check(composed([*GIVEN, extra]), Extras())


def test_another_payer_and_another_signer_are_refused():
    with pytest.raises(BadTransaction, match=r"must be .* alone"):
        check(composed(GIVEN, payer=OTHER, keys=[WALLET]))
    extra = guard((BEN, True, False))
    with pytest.raises(BadTransaction, match=r"must be .* alone"):
        check(composed([*GIVEN, extra], keys=[OTHER]))


def test_a_lookup_table_is_refused_whatever_it_has():
    table = AddressLookupTableAccount(key_of("table").pubkey(), [READ, WRITTEN])
    message = MessageV0.try_compile(ANNA, GIVEN, [table], BLOCKHASH)

    with pytest.raises(BadTransaction, match="lookup table"):
        check(signed(message, WALLET))


def test_an_account_that_nothing_uses_is_refused():
    message = Message.new_with_compiled_instructions(
        1, 0, ASKED.header.num_readonly_unsigned_accounts + 1,
        [*ASKED.account_keys, BEN], BLOCKHASH, ASKED.instructions,
    )  # fmt: skip

    with pytest.raises(BadTransaction, match="no instruction uses the account"):
        check(signed(message, WALLET))


@pytest.mark.parametrize("at", range(3))
def test_every_other_account_is_refused(at):
    accounts = list(OURS.accounts)
    accounts[at] = M(BEN, accounts[at].is_signer and at > 0, accounts[at].is_writable)
    changed = Instruction(PROGRAM, DATA, accounts)

    with pytest.raises(
        BadTransaction, match=f"instruction 3 .*its account {at + 1} is"
    ):
        check(composed([*GIVEN[:2], changed, GIVEN[3]]))


@pytest.mark.parametrize(
    "accounts", [OURS.accounts[:2], [*OURS.accounts, OURS.accounts[1]]]
)
def test_more_and_fewer_accounts_are_refused(accounts):
    changed = Instruction(PROGRAM, DATA, accounts)

    with pytest.raises(
        BadTransaction, match=r"instruction 3 .*accounts and must have 3"
    ):
        check(composed([*GIVEN[:2], changed, GIVEN[3]]))


@pytest.mark.parametrize(("at", "flags"), [(1, (False, False)), (2, (False, True))])
def test_every_other_flag_is_refused(at, flags):
    accounts = list(OURS.accounts)
    accounts[at] = M(accounts[at].pubkey, *flags)
    changed = Instruction(PROGRAM, DATA, accounts)

    with pytest.raises(BadTransaction, match=r"of instruction 3 is .*must be"):
        check(composed([*GIVEN[:2], changed, GIVEN[3]]))


@pytest.mark.parametrize("at", range(len(DATA)))
def test_every_single_byte_change_of_our_data_is_refused(at):
    for bit in range(8):
        data = bytearray(DATA)
        data[at] ^= 1 << bit
        changed = Instruction(PROGRAM, bytes(data), OURS.accounts)
        with pytest.raises(
            BadTransaction, match=rf"instruction 3 .*its data differs from byte {at} on"
        ):
            check(composed([*GIVEN[:2], changed, GIVEN[3]]))


def budget_bytes(message):
    """The places of what a wallet may choose: the blockhash, limit and price."""
    raw = to_bytes_versioned(message)
    free = set()
    for part, skipped in (
        (bytes(BLOCKHASH), 0),
        *((bytes(each.data), 1) for each in message.instructions[:2]),
    ):
        start = raw.index(part)
        free |= set(range(start + skipped, start + len(part)))
    return free


@pytest.mark.parametrize("legacy", [False, True])
def test_every_single_byte_change_of_the_message_is_refused_or_the_wallets(legacy):
    """Each byte of it, with a new signature: only blockhash and budget are free."""
    rng = random.Random(7)
    message = composed(GIVEN, legacy=legacy).message
    raw, free = to_bytes_versioned(message), budget_bytes(message)
    taken = set()
    for at in range(len(raw)):
        for change in {1, 0x80, rng.randrange(1, 256)}:
            changed = bytearray(raw)
            changed[at] ^= change
            whole = b"\1" + bytes(WALLET.sign_message(bytes(changed))) + changed
            try:
                check(whole)
            except BadTransaction:
                continue
            taken.add(at)

    assert taken
    assert taken <= free


def test_every_single_byte_change_of_the_bytes_as_they_are_is_refused():
    raw = bytes(composed(GIVEN))
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 0x10
        with pytest.raises(BadTransaction):
            check(changed)


keys = st.binary(min_size=32, max_size=32).map(Pubkey.from_bytes)
metas = st.builds(
    AccountMeta,
    st.one_of(st.sampled_from([READ, WRITTEN, SHOP, ANNA]), keys),
    st.just(False),
    st.booleans(),
)
extras = st.builds(
    Instruction,
    st.one_of(
        st.sampled_from([PROGRAM, TOKEN, Pubkey.default(), GIVEN[0].program_id, GUARD]),
        keys,
    ),
    st.one_of(
        st.binary(max_size=24),
        st.builds(
            lambda tag, amount: struct.pack("<IQ", tag, amount),
            st.integers(0, 12), st.integers(0, 2**64 - 1),
        ),
    ),
    st.lists(metas, max_size=4),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), extras), min_size=1, max_size=3))
def test_random_extra_instructions_are_refused_unless_listed(added):
    whole = list(GIVEN)
    for at, extra in added:
        whole.insert(at, extra)
    try:
        raw = composed(whole)
    except Exception:  # it fits into no message
        return
    if len(bytes(raw)) > 1_232:
        return
    try:
        found = check(raw)
    except BadTransaction:
        return

    # What is taken is guards and capped fees, and lets no more be written than before.
    programs = {each.program_id for _, each in added}
    assert programs <= {GUARD, Pubkey.default(), GIVEN[0].program_id}
    assert found.lamports <= 5_000
    written = {m.pubkey for i in whole for m in i.accounts if m.is_writable}
    assert written <= {ANNA, WRITTEN, SHOP}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1_400))
def test_bytes_that_are_none_are_refused_and_never_break(raw):
    with pytest.raises(BadTransaction):
        read_transaction(raw)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(bytes(composed(GIVEN))) - 1), st.integers(0, 255)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_mutated_transactions_never_break_the_reader(changes):
    raw = bytearray(bytes(composed(GIVEN)))
    before = bytes(raw)
    for at, value in changes:
        raw[at] = value
    if bytes(raw) == before:
        return
    with pytest.raises(BadTransaction):
        check(raw)


def test_bytes_behind_a_transaction_and_too_many_are_refused():
    raw = bytes(composed(GIVEN))
    for wrong in (raw + b"\0", raw[:-1], raw[:70], b"", b"\0", raw + bytes(5_000)):
        with pytest.raises(BadTransaction, match="base64"):
            check(wrong)


def test_a_signature_of_another_key_and_of_nobody_are_refused():
    ours = composed(GIVEN)
    by_other = VersionedTransaction.populate(
        ours.message, [OTHER.sign_message(to_bytes_versioned(ours.message))]
    )
    for wrong in (by_other, b"\1" + bytes(64) + to_bytes_versioned(ours.message)):
        with pytest.raises(BadTransaction, match="is not of this message"):
            check(wrong)


def test_the_message_itself_is_no_transaction():
    with pytest.raises(BadTransaction):
        check(to_bytes_versioned(ASKED))
    assert from_bytes_versioned(to_bytes_versioned(ASKED)) == ASKED


def test_what_landed_is_known_by_its_memo_and_our_instruction_whatever_is_beside():
    found = read_transaction(bytes(composed([paid(BEN, 1), *GIVEN])))
    changed = Instruction(PROGRAM, DATA[:-1] + b"\0", OURS.accounts)
    other = read_transaction(bytes(composed([changed, GIVEN[3]])))

    assert command_named(found.steps) == ID
    assert carries_out(found, bytes(OURS), ID)
    assert not carries_out(found, bytes(OURS), uuid.UUID(int=1))
    assert not carries_out(other, bytes(OURS), ID)
