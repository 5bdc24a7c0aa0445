"""Wallets with all their token accounts, those found late and those closed too."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest
from sqlalchemy import text

import indexer.solana.source as source_module
import indexer.solana.wallets as wallets_module
from db.position import BlockRange
from db.schema import migrate
from db.solana import wallets as stored_module
from db.solana.wallets import WALLET
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.solana_following import catch_up, following
from helpers.tables import problems
from helpers.token_bank import REGISTRY, of_wallets
from helpers.wallet_life import Life, held_by, reference
from test_architecture import ROOT

pytestmark = pytest.mark.chain


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


@pytest.fixture
def life(node):
    return Life(Devnet(node.url), 21)


def follow(engine, node, wallets, *, steps=300, **options):
    async def run():
        async with following(
            engine, [node.url], registry=REGISTRY, programs=of_wallets(*wallets),
            **options,
        ) as chain:  # fmt: skip
            return await catch_up(chain, steps)

    return asyncio.run(run())


def told(engine):
    """Slot, account, owner, amount and balance of each fact, in order of position."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT height, account, owner, amount, balance"
                " FROM public.tokens_token_moved ORDER BY position"
            )
        ).all()
        assert problems(connection, REGISTRY) == []
    return [(*row[:3], int(row.amount), int(row.balance)) for row in rows]


def accounts(engine):
    with engine.connect() as connection:
        query = "SELECT contract, control.base58(address) FROM control.child"
        return {
            (who.removeprefix(WALLET), at)
            for who, at in connection.execute(text(query))
        }


def check(engine, life):
    """Every fact is there once, and the owners hold what the node says."""
    assert told(engine) == reference(life.devnet, life.keys)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM public.owned_tokens")).all()
    for wallet in life.keys:
        held = {r.mint: int(r.balance) for r in rows if r.owner == str(wallet)}
        assert {m: n for m, n in held.items() if n} == held_by(life.devnet, wallet)


def test_wallets_hold_what_the_node_says_whatever_becomes_of_accounts(
    engine, node, life
):
    for _ in range(4):
        for _ in range(14):
            life.live()
        life.devnet.advance(40)
        follow(engine, node, life.keys)
        check(engine, life)
    assert len(accounts(engine)) > 7


def test_accounts_that_are_opened_later_and_closed_are_read(engine, node, life):
    wallet, mint = life.wallets[0], life.all_mints[0]
    life.devnet.advance(40)
    follow(engine, node, life.keys)
    one = life.associated(mint, wallet)
    life.do(life.minting(one, 900))
    life.close(one)
    life.devnet.advance(2)
    follow(engine, node, life.keys)
    again = life.associated(mint, wallet)
    life.do(life.minting(again, 41))
    life.devnet.advance(2)

    follow(engine, node, life.keys)

    assert again == one
    assert [amount for _, _, _, amount, _ in told(engine)] == [900, -900, 41]
    check(engine, life)


def test_an_account_that_names_no_wallet_is_found_by_asking_with_its_history(
    engine, node, life
):
    """Its transactions were passed over; just their slots are read again."""
    wallet, mint = life.wallets[0], life.all_mints[0]
    stranger = life.account(mint)
    for amount in (5, 6, 7):
        life.do(life.minting(stranger, amount))
        life.devnet.advance(3)
    owner = life.owner(stranger)
    life.do(life.giving_away(stranger, wallet), signers=[owner])
    life.devnet.advance(2)
    follow(engine, node, life.keys)
    assert told(engine) == []

    life.devnet.advance(40)
    outcomes = follow(engine, node, life.keys)

    assert [amount for *_, amount, _ in told(engine)] == [5, 6, 7, -18, 18]
    assert accounts(engine) == {(str(wallet.pubkey()), str(stranger))}
    check(engine, life)
    written = [each.written.blocks for each in outcomes if hasattr(each, "written")]
    assert sum(each.blocks for each in written) < 60  # not all slots from the first on


def test_a_node_that_does_not_tell_accounts_costs_no_more_than_these(
    engine, node, life, caplog
):
    mint, wallet = life.all_mints[1], life.wallets[0]
    named, unnamed = life.associated(mint, wallet), life.account(mint, wallet)
    life.do(life.minting(named, 3))
    life.do(life.minting(unnamed, 4))
    life.devnet.advance(40)
    life.devnet.fault(
        kind="error", code=-32601, method="getTokenAccountsByOwner", times=10**6
    )
    follow(engine, node, life.keys)
    assert [amount for *_, amount, _ in told(engine)] == [3]
    assert "wallet_accounts_not_told" in caplog.text

    life.devnet.clear()
    follow(engine, node, life.keys)
    check(engine, life)


def test_workers_that_read_history_in_any_order_lose_nothing(engine, node, life):
    """The last slots first, without what is known from the first."""
    for _ in range(25):
        life.live()
        life.devnet.advance(2)
    life.devnet.advance(40)
    top = life.devnet.call("getSlot", {"commitment": "finalized"})
    for first in range(top - top % 20, -1, -20):
        window = BlockRange(first, min(first + 19, top))
        follow(engine, node, life.keys, window=window, range_blocks=7)

    follow(engine, node, life.keys)
    check(engine, life)


def test_without_opening_slots_again_it_is_noticed(engine, node, life, monkeypatch):
    """A planted bug: what was read without an account counts as read."""
    monkeypatch.setattr(stored_module, "open_again", lambda *_, **__: None)
    monkeypatch.setattr(source_module, "LATE_SLOTS", -10_000)  # nor is it found so
    stranger = life.account(life.all_mints[0])
    life.do(life.minting(stranger, 6))
    owner = life.owner(stranger)
    life.do(life.giving_away(stranger, life.wallets[0]), signers=[owner])
    life.devnet.advance(2)
    follow(engine, node, life.keys)
    life.devnet.advance(40)
    follow(engine, node, life.keys)

    with pytest.raises(AssertionError):
        check(engine, life)


def test_two_that_write_at_once_leave_no_slot_unread(engine, node, life, monkeypatch):
    """One finds an account while the other has read later slots without it."""
    monkeypatch.setattr(wallets_module.Wallets, "look", _nothing)
    wallet, mint = life.wallets[0], life.all_mints[0]
    account = life.account(mint, wallet)
    life.devnet.advance(2)
    life.do(life.burning(account, 0), signers=[wallet])  # names both
    life.devnet.advance(2)
    middle = life.devnet.call("getSlot", {"commitment": "confirmed"})
    life.do(life.minting(account, 77))  # names the account alone
    life.devnet.advance(40)
    top = life.devnet.call("getSlot", {"commitment": "finalized"})

    early, late = BlockRange(0, middle), BlockRange(middle + 1, top)
    for order in ((late, early), (early, late)):
        assert asyncio.run(_both(engine, node, life.keys, order)) is None
        follow(engine, node, life.keys)
        assert [amount for *_, amount, _ in told(engine)] == [77]
        with engine.begin() as connection:
            for table in ("control.coverage", "control.child", "control.signature",
                          "control.listing", "facts.tokens_token_moved"):  # fmt: skip
                connection.execute(text(f"DELETE FROM {table}"))


async def _nothing(self, confirmed):
    """Ask no node."""


async def _both(engine, node, wallets, order):
    """Read two ranges, and write them only then, in an order."""
    from indexer.writer import write_batch

    async with following(
        engine, [node.url], registry=REGISTRY, programs=of_wallets(*wallets)
    ) as chain:
        await chain.source.head()
        events = [each.event for each in chain.streams]
        ids = {each for each in events if each != "chain.blocks"}
        batches = [await chain.source.fetch(blocks, ids) for blocks in order]
        for batch in batches:
            write_batch(engine, REGISTRY, chain.id, batch, chain.streams)


KILLED = """
import asyncio, os, sys
sys.path.insert(0, "tests")
from sqlalchemy import create_engine
import indexer.solana.wallets as module
import indexer.writer as writer
from db.solana import listing, wallets
from devnet.solana.client import Devnet
from helpers.solana_following import catch_up, following
from helpers.token_bank import REGISTRY, of_wallets
from solders.pubkey import Pubkey

left = int(sys.argv[3])

def dying(function):
    def run(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return function(*arguments, **named)
    return run

listing.store = dying(listing.store)
wallets.keep = dying(wallets.keep)
wallets.open_again = dying(wallets.open_again)
writer.coverage.record = dying(writer.coverage.record)
programs = of_wallets(*map(Pubkey.from_string, sys.argv[4:]))

async def run():
    async with following(
        create_engine(sys.argv[1]), [sys.argv[2]], registry=REGISTRY, programs=programs,
        range_blocks=9,
    ) as chain:
        await catch_up(chain)

asyncio.run(run())
"""


def test_what_is_killed_anywhere_goes_on(engine, db_engine, node, life):
    for _ in range(24):
        life.live()
        life.devnet.advance(2)
    life.devnet.advance(40)
    url = db_engine.url.render_as_string(hide_password=False)
    keys = list(map(str, life.keys))
    killed = 0
    for left in (0, 2, 5, 9):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, url, node.url, str(left), *keys],
            timeout=100, cwd=ROOT,
        )  # fmt: skip
        killed += done.returncode == -9
    assert killed == 4

    follow(engine, node, life.keys)
    check(engine, life)


def test_an_account_of_a_fork_that_is_gone_is_forgotten(engine, node, life):
    wallet, mint = life.wallets[0], life.all_mints[0]
    life.devnet.advance(40)
    follow(engine, node, life.keys)
    gone = life.associated(mint, wallet)
    life.do(life.minting(gone, 12))
    life.devnet.advance(2)
    follow(engine, node, life.keys)
    assert [amount for *_, amount, _ in told(engine)] == [12]

    life.devnet.fork(6)
    for _ in range(5):
        life.devnet.advance(12)
        with suppress(AssertionError):  # the node lists less than it did: till final
            follow(engine, node, life.keys, steps=4)

    follow(engine, node, life.keys)
    assert told(engine) == []
    assert accounts(engine) == set()
    check(engine, life)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_any_schedule_of_faults_and_forks_ends_as_the_chain_is(engine, seed):
    options = NodeOptions(
        slot_ms=0, seed=seed, confirmed_after=1, finalized_after=8,
        transaction_index=seed % 2 == 0,
    )  # fmt: skip
    with SolanaNode(options) as node:
        life = Life(Devnet(node.url), seed)
        chance = life.chance
        for _ in range(7):
            life.devnet.clear()
            for _ in range(chance.randint(1, 4)):
                for _ in range(chance.randrange(2)):
                    life.live()
                life.devnet.advance(chance.randint(1, 9))
            life.devnet.fault(seed=seed, share=0.2, lag=6)
            with suppress(AssertionError):  # it is far behind: later
                follow(engine, node, life.keys, steps=20,
                       range_blocks=chance.choice([3, 1000]))  # fmt: skip
        life.devnet.clear()
        life.devnet.advance(30)
        follow(engine, node, life.keys)
        life.devnet.advance(1)
        follow(engine, node, life.keys)

        check(engine, life)
