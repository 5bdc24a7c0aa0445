"""A wallet on a node that nobody here wrote, with accounts that come and go."""

from __future__ import annotations

import asyncio
import time

import pytest
from solders.keypair import Keypair
from sqlalchemy import text

from db.schema import migrate
from devnet.solana.client import Client, pay_tokens
from helpers.solana_following import following
from helpers.surfpool import SurfpoolUnavailable, surfpool
from helpers.token_bank import REGISTRY, of_wallets
from helpers.wallet_life import held_by
from indexer.errors import Retryable
from indexer.follow import step

pytestmark = [pytest.mark.slow, pytest.mark.chain]


@pytest.fixture(scope="module")
def url():
    try:
        with surfpool() as found:
            yield found
    except SurfpoolUnavailable as error:
        pytest.skip(str(error))


def owned(engine, wallet):
    query = "SELECT mint, balance FROM public.owned_tokens WHERE owner = :wallet"
    with engine.connect() as connection:
        rows = connection.execute(text(query), {"wallet": str(wallet)}).all()
    return {row.mint: int(row.balance) for row in rows if row.balance}


async def read_until(engine, url, wallet, start, wanted):
    programs = of_wallets(wallet, start=start)
    async with following(engine, [url], registry=REGISTRY, programs=programs) as chain:
        ends_at = time.monotonic() + 60
        while owned(engine, wallet) != wanted:
            assert time.monotonic() < ends_at, owned(engine, wallet)
            try:
                await step(chain)
            except Retryable:
                await asyncio.sleep(0.1)


def test_a_wallet_holds_what_surfpool_says(db_engine, url):
    migrate(db_engine, REGISTRY)
    client = Client(url)
    client.fund(lamports=10**11)
    start = client.call("getSlot", {"commitment": "confirmed"})  # it has none below
    wallet, other = Keypair(), Keypair()
    client.fund(wallet.pubkey())
    mints = [client.make_mint(6), client.make_mint(2)]
    unnamed = client.make_token_account(mints[0], wallet.pubkey())
    named = client.make_account(mints[1], wallet.pubkey())
    theirs = client.make_account(mints[0], other.pubkey())
    client.mint_to(mints[0], unnamed, 5_000)
    client.mint_to(mints[1], named, 77)
    client.mint_to(mints[0], theirs, 900)
    back = pay_tokens(theirs, mints[0], unnamed, other.pubkey(), 250, 6)
    client.send(back, signers=[other])  # names the wallet's account alone

    wanted = held_by(client, wallet.pubkey())
    assert wanted == {str(mints[0]): 5_250, str(mints[1]): 77}
    asyncio.run(read_until(db_engine, url, wallet.pubkey(), start, wanted))

    later = client.make_token_account(mints[1], wallet.pubkey())
    client.mint_to(mints[1], later, 3)
    wanted = held_by(client, wallet.pubkey())
    assert wanted[str(mints[1])] == 80
    asyncio.run(read_until(db_engine, url, wallet.pubkey(), start, wanted))
