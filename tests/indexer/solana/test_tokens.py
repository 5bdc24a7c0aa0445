"""Token movements of real token programs: balances are their sums."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import text

from db.declare import TokenMoved
from db.declare.solana.bare import declare_program
from db.registry import Registry
from db.schema import migrate
from devnet.solana import ledger
from devnet.solana.client import TOKEN, Devnet, TransactionFailedError
from helpers.solana_following import ADDRESS, catch_up, following
from helpers.tables import problems
from helpers.token_bank import (
    REGISTRY,
    TOKEN_2022,
    Bank,
    HeldTokens,
    OwnedTokens,
    followed,
)
from idl import parse_idl
from indexer.solana.assemble import FollowedProgram
from test_architecture import ROOT

pytestmark = pytest.mark.chain


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


@pytest.fixture
def bank(node):
    return Bank(Devnet(node.url), 11)


def follow(engine, node, *addresses, start=0):
    programs = followed(*addresses, start=start)

    async def run():
        async with following(
            engine, [node.url], registry=REGISTRY, programs=programs
        ) as chain:
            return await catch_up(chain)

    return asyncio.run(run())


def moved(engine, *, signature=None):
    """Account, owner, amount and balance of each fact, in order of position."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT transaction, account, owner, amount, balance"
                " FROM public.tokens_token_moved ORDER BY position"
            )
        ).all()
    return [
        (row.account, row.owner, int(row.amount), int(row.balance))
        for row in rows
        if signature in (None, row.transaction)
    ]


def folded(engine):
    """What the table says that each account holds, twice: by sum and by latest."""
    with engine.connect() as connection:
        assert problems(connection, REGISTRY) == []
        rows = connection.execute(text("SELECT * FROM public.held_tokens")).all()
    return {row.account: (int(row.balance), int(row.told)) for row in rows}


def owned(engine):
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM public.owned_tokens")).all()
    return {(row.owner, row.mint): int(row.balance) for row in rows if row.balance}


def check(engine, bank):
    """Every account holds what the node says, and so does every owner."""
    found, of_owner = folded(engine), {}
    for account, mint in bank.mints.items():
        held = bank.held(account) or 0
        assert found.get(str(account), (0, 0)) == (held, held), account
        key = str(bank.owners[account].pubkey()), str(mint.key)
        of_owner[key] = of_owner.get(key, 0) + held
    assert owned(engine) == {key: held for key, held in of_owner.items() if held}


def test_balances_are_what_the_node_says(engine, node, bank):
    """Whatever is done with accounts of both programs, with fees and without."""
    mints = [
        bank.mint(TOKEN), bank.mint(TOKEN_2022), bank.mint(TOKEN_2022, fee_bps=137),
    ]  # fmt: skip
    accounts = [bank.account(mint) for mint in mints for _ in range(3)]
    for account in accounts:
        bank.do(bank.minting(account, bank.chance.randint(1, 10**9)))
    for _ in range(4):
        for _ in range(12):
            bank.act()
        bank.devnet.advance(2)
        follow(engine, node, *accounts)
        check(engine, bank)

    assert len(moved(engine)) > 60


def test_what_arrived_is_told_and_not_the_argument(engine, node, bank):
    mint = bank.mint(TOKEN_2022, fee_bps=250)
    one, two = bank.account(mint), bank.account(mint)
    bank.do(bank.minting(one, 90_001))
    sent = bank.do(bank.moving(one, two, 40_001), signers=[bank.owner(one)])
    bank.devnet.advance(2)

    follow(engine, node, one)

    fee = -(-40_001 * 250 // 10_000)
    assert sorted(moved(engine, signature=sent)) == sorted(
        [
            (str(one), str(bank.owner(one).pubkey()), -40_001, 50_000),
            (str(two), str(bank.owner(two).pubkey()), 40_001 - fee, 40_001 - fee),
        ]
    )


def test_what_comes_back_at_once_is_no_movement(engine, node, bank):
    mint = bank.mint()
    one, two = bank.account(mint), bank.account(mint)
    bank.do(bank.minting(one, 777))
    sent = bank.do(
        bank.moving(one, two, 55, checked=False),
        bank.moving(two, one, 55),
        signers=[bank.owner(one), bank.owner(two)],
    )
    bank.devnet.advance(2)

    follow(engine, node, one, two)

    assert moved(engine, signature=sent) == []
    check(engine, bank)


def test_an_account_that_is_closed_and_made_again_for_another_mint(engine, node, bank):
    """Both halves are told, under the mint and the owner that they are about."""
    first, other = bank.mint(), bank.mint()
    key, heir = bank.person(), bank.person()
    account = bank.account(first, key=key)
    rest = bank.account(first)
    bank.do(bank.minting(account, 31))
    owner = bank.owner(account)
    emptied = [bank.moving(account, rest, 31, checked=False), bank.closing(account)]
    made = bank.opening(other, heir, key)
    sent = bank.do(*emptied, *made, bank.minting(account, 12), signers=[owner, key])
    bank.devnet.advance(2)

    follow(engine, node, account)

    told = moved(engine, signature=sent)
    assert [each for each in told if each[0] == str(account)] == [
        (str(account), str(owner.pubkey()), -31, 0),
        (str(account), str(heir.pubkey()), 12, 12),
    ]
    check(engine, bank)


def test_an_account_with_another_owner_left_the_first(engine, node, bank):
    mint, heir = bank.mint(TOKEN_2022), bank.person()
    account = bank.account(mint)
    bank.do(bank.minting(account, 4_321))
    first = bank.owner(account)
    sent = bank.do(bank.giving_away(account, heir), signers=[first])
    bank.devnet.advance(2)

    follow(engine, node, account)

    assert moved(engine, signature=sent) == [
        (str(account), str(first.pubkey()), -4_321, 0),
        (str(account), str(heir.pubkey()), 4_321, 4_321),
    ]
    check(engine, bank)


def test_what_failed_moved_nothing(engine, node, bank):
    mint = bank.mint()
    one, two = bank.account(mint), bank.account(mint)
    bank.do(bank.minting(one, 808))
    with pytest.raises(TransactionFailedError):
        bank.do(
            bank.moving(one, two, 8), ledger.fail(6000),
            signers=[bank.owner(one)], skipPreflight=True,
        )  # fmt: skip
    bank.devnet.advance(2)

    follow(engine, node, one, two)

    assert [amount for _, _, amount, _ in moved(engine)] == [808]
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT 1 FROM control.failed_transaction"))
        assert not kept.all()


def test_a_transaction_of_two_followed_addresses_is_told_once(engine, node, bank):
    """Also when one of them is followed later, and the other is no more."""
    mint = bank.mint()
    one, two, three = (bank.account(mint) for _ in range(3))
    bank.do(bank.minting(one, 1_001))
    for amount in (3, 5, 8):
        bank.do(bank.moving(one, two, amount), signers=[bank.owner(one)])
    bank.do(bank.moving(two, three, 4), signers=[bank.owner(two)])
    bank.devnet.advance(2)

    follow(engine, node, one, two)
    whole = moved(engine)
    assert sorted(amount for _, _, amount, _ in whole) == sorted(
        [1_001, -3, 3, -5, 5, -8, 8, -4, 4]
    )
    follow(engine, node, three)
    follow(engine, node, one, two, three, mint.key)

    assert moved(engine) == whole
    check(engine, bank)


def test_a_mint_shows_what_names_it_and_no_more(engine, node, bank):
    mint = bank.mint()
    one, two = bank.account(mint), bank.account(mint)
    bank.do(bank.minting(one, 600))
    bank.do(bank.moving(one, two, 70, checked=False), signers=[bank.owner(one)])
    bank.do(bank.moving(one, two, 9, checked=True), signers=[bank.owner(one)])
    bank.devnet.advance(2)

    follow(engine, node, mint.key)

    assert sorted(amount for _, _, amount, _ in moved(engine)) == [-9, 9, 600]


def test_a_program_s_transactions_are_read_for_both(engine, node, bank):
    """Reading for tokens leaves what the program's IDL does not know as it is."""
    raw = json.loads((ROOT / "idl/ledger.json").read_text())
    marked = declare_program("whole", parse_idl(raw))
    mint = bank.mint()
    one, two = bank.account(mint), bank.account(mint)
    bank.do(bank.minting(one, 5_005), ledger.mark(1, 1))
    bank.do(bank.moving(one, two, 17), ledger.mark(2, 3), signers=[bank.owner(one)])
    bank.do(bank.moving(one, two, 400), signers=[bank.owner(one)])
    bank.devnet.advance(2)
    tokens = followed(ledger.PROGRAM)
    odd = "SELECT event FROM control.undecodable_log ORDER BY position"

    def read(events, *programs):
        registry = Registry.of([*events, TokenMoved], [HeldTokens, OwnedTokens])
        migrate(engine, registry)

        async def run():
            async with following(
                engine, [node.url], registry=registry, programs=programs
            ) as chain:
                await catch_up(chain)

        asyncio.run(run())
        with engine.connect() as connection:
            return list(connection.execute(text(odd)).scalars())

    source = marked[0].spec.source
    calls = declare_program("whole", parse_idl({**raw, "events": []}))
    program = FollowedProgram(calls[0].spec.source, {ADDRESS: 0}, calls)
    unknown = read(calls, program)
    assert unknown
    assert read(calls, program, *tokens) == unknown
    assert sorted(amount for _, _, amount, _ in moved(engine)) == [-17, 17, 5_005]
    assert read(marked, FollowedProgram(source, {ADDRESS: 0}, marked), *tokens) == []
    assert len(moved(engine)) == 3


def test_movements_of_a_fork_are_undone(engine, node, bank):
    mint = bank.mint(TOKEN_2022, fee_bps=33)
    one, two = bank.account(mint), bank.account(mint)
    bank.do(bank.minting(one, 10**7))
    bank.devnet.advance(40)
    sent = [
        bank.do(bank.moving(one, two, 1_000 * n), signers=[bank.owner(one)])
        for n in (1, 2, 3, 4)
    ]
    bank.devnet.advance(2)
    follow(engine, node, one, two)
    check(engine, bank)
    before = moved(engine)

    gone = bank.devnet.fork(8, keep=sent[-1:])
    assert gone
    for _ in range(5):
        bank.devnet.advance(12)
        follow(engine, node, one, two)

    assert moved(engine) != before
    check(engine, bank)
