"""Settlements on a development node, followed by the product with settings alone."""

from __future__ import annotations

import asyncio
import base64
import shutil

import pytest
from solders.keypair import Keypair

from api.app import create_app
from db import reads
from db.schema import migrate
from db.sql.verify import differences
from devnet.solana import ledger, settlement
from devnet.solana.client import (
    UPGRADER,
    TransactionFailedError,
)
from devnet.solana.run import NodeOptions, SolanaNode
from devnet.solana.settlement import Settings
from helpers.bare import settings_of
from helpers.market import FEE_BPS, Market
from helpers.settling import reference
from idl.parse import DIRECTORY
from ops.indexing import declared, streams
from ops.running import catch_up

pytestmark = pytest.mark.chain
SETTINGS = """
domains = []

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[programs.settlement]
idl = "settlement.json"
address = "{program}"

[tables.fees]
doc = "What the platform earned and what left the treasury, by paying account."
treasury = "Key()"
settled = "Count(settlement.PurchaseSettled)"
distributable = "Sum(settlement.PurchaseSettled.amount)"
earned = "Sum(settlement.PurchaseSettled.platform_fee)"
dust = "Sum(settlement.PurchaseSettled.dust)"
paid_out = "distributable - earned - dust"
"""
TOKENS = """
[chains.local.tokens]
treasury = "{treasury}"

[tables.received]
doc = "What reached each person, by token."
owner = "Key()"
mint = "Key()"
balance = "Sum(tokens.TokenMoved.amount)"
"""


@pytest.fixture
def market():
    with SolanaNode(NodeOptions(slot_ms=50, finalized_after=3)) as node:
        yield Market(node.url).deployed()


def refused(name: str):
    code = settlement.error_code(name)
    return pytest.raises(TransactionFailedError, match=f"'Custom': {code}")


def test_only_who_deployed_it_through_the_loader_initializes_it(market):
    """The program data is the loader's own here."""
    client, thief = market.client, Keypair()
    client.fund(thief.pubkey())
    stolen = settlement.initialize(
        thief.pubkey(), thief.pubkey(), market.usdc, Settings(thief.pubkey()),
        market.program.pubkey(),
    )  # fmt: skip

    with refused("NotUpgradeAuthority"):
        client.send(stolen, signers=[thief], skipPreflight=True)
    client.send(market.initialize())
    with refused("AlreadyInitialized"):
        client.send(market.initialize(), skipPreflight=True)


def test_the_program_of_the_development_chain_is_initialized_by_its_upgrader(market):
    client, own = market.client, UPGRADER
    client.fund(own.pubkey())
    settings = Settings(market.key, FEE_BPS)
    call = settlement.initialize(own.pubkey(), market.key, market.usdc, settings)

    client.send(call, signers=[own])

    found = client.call("getAccountInfo", str(settlement.config_address()),
                        {"commitment": "confirmed", "encoding": "base64"})  # fmt: skip
    data = base64.b64decode(found["value"]["data"][0])
    assert settlement.read_config(data).admin == market.key


def test_the_tables_say_what_was_settled(market, tmp_path, db_engine):
    client = market.client
    client.send(market.initialize())
    twelve = (1_111,) + (808,) * 10 + (809,)
    purchases = [market.purchase(*points) for points in
                 ((10_000,), (3_333, 6_667), twelve)]  # fmt: skip
    spam = ledger.spam(400, 30)
    signatures = [market.settle(purchases[0]), market.settle(purchases[1], spam),
                  market.settle(purchases[2])]  # fmt: skip
    with refused("AlreadySettled"):
        market.settle(purchases[1], skipPreflight=True)
    client.wait(client.send(ledger.mark(7, 9)), "finalized")

    http, registry = served(market, tmp_path, db_engine)

    rows = {row["purchase_id"]: row for row in
            http("events/settlement_purchase_settled")}  # fmt: skip
    assert len(rows) == len(purchases)
    earned = paid_out = lost = 0
    for purchase, signature in zip(purchases, signatures, strict=True):
        row = rows["0x" + purchase.identity.hex()]
        points = [share for _, share in purchase.shares]
        fee, paid, dust = reference(purchase.distributable, FEE_BPS, points)
        mint = settlement.mint_address(purchase.identity, market.program.pubkey())
        told = {
            "buyer": str(purchase.buyer), "mint": str(mint),
            "treasury": str(market.treasury), "amount": str(purchase.distributable),
            "platform_fee": str(fee), "fee_bps": FEE_BPS, "dust": str(dust),
            "payment_hash": "0x" + purchase.payment_hash.hex(),
            "metadata_hash": "0x" + purchase.metadata_hash.hex(),
            "transaction": signature,
        }  # fmt: skip
        assert told == {name: row[name] for name in told}
        assert row["payouts"] == [
            {"recipient": str(owner), "amount": str(each), "share_bps": str(share)}
            for (owner, share), each in zip(purchase.shares, paid, strict=True)
        ]
        earned, paid_out, lost = earned + fee, paid_out + sum(paid), lost + dust
    [fees] = http("fees")
    assert (str(earned), str(paid_out), str(lost), 3) == (
        fees["earned"], fees["paid_out"], fees["dust"], fees["settled"]
    )  # fmt: skip
    assert paid_out == sum(map(market.held, market.people))
    [config] = http("events/settlement_config_changed")
    assert (config["admin"], config["fee_bps"]) == (str(market.key), FEE_BPS)
    calls = http("events/settlement_settle_purchase_instruction")
    assert {call["mint"] for call in calls} == {row["mint"] for row in rows.values()}
    with db_engine.connect() as connection:
        for projection in registry.projections.values():
            assert list(differences(connection, projection.spec)) == []


def test_payouts_are_movements_of_each_recipient_s_tokens(market, tmp_path, db_engine):
    """The treasury's account alone is followed; what it pays is told of all."""
    client = market.client
    client.send(market.initialize())
    shares = [(10_000,), (3_333, 6_667), (1_111,) + (808,) * 10 + (809,)]
    settled = [(each, market.settle(each)) for each in
               (market.purchase(*points) for points in shares)]  # fmt: skip
    with refused("AlreadySettled"):
        market.settle(settled[1][0], skipPreflight=True)
    client.wait(client.send(ledger.mark(7, 9)), "finalized")

    more = TOKENS.format(treasury=market.treasury)
    http, registry = served(market, tmp_path, db_engine, more)

    for purchase, signature in settled:
        fee, paid, _ = reference(
            purchase.distributable, FEE_BPS, [share for _, share in purchase.shares]
        )
        expected = {
            str(owner): amount
            for (owner, _), amount in zip(purchase.shares, paid, strict=True)
        }
        moved = [
            row for row in http("events/tokens_token_moved?limit=100")
            if row["transaction"] == signature
        ]  # fmt: skip
        usdc = str(market.usdc)
        told = {r["owner"]: int(r["amount"]) for r in moved if r["mint"] == usdc}
        assert told.pop(str(market.key)) == -sum(paid)
        assert (told, fee > 0) == (expected, True)
        [edition] = [row for row in moved if row["mint"] != usdc]
        mint = settlement.mint_address(purchase.identity, market.program.pubkey())
        minted = [edition[name] for name in ("owner", "amount", "decimals", "mint")]
        assert minted == [str(purchase.buyer), "1", 0, str(mint)]
    rows = {row["owner"]: row["balance"] for row in
            http(f"received?mint={market.usdc}&limit=100")}  # fmt: skip
    for each in market.people:
        assert rows.get(str(each), "0") == str(market.held(each))
    assert rows[str(market.key)] == str(market.held(market.key))
    with db_engine.connect() as connection:
        for projection in registry.projections.values():
            assert list(differences(connection, projection.spec)) == []


def served(market, folder, engine, more=""):
    """Follow the chain by settings and return what asks the API, and the registry."""
    genesis = market.client.call("getGenesisHash")
    shutil.copy(DIRECTORY / "settlement.json", folder)
    text = (SETTINGS + more).format(
        genesis=genesis[:32],
        url=market.client.rpc.url,
        program=market.program.pubkey(),
    )
    settings = settings_of(folder, text)
    registry = declared(settings)
    migrate(engine, registry)
    asyncio.run(catch_up(settings, settings.chains["local"], engine, registry))
    reader = reads.read_engine(engine.url.render_as_string(hide_password=False))
    plan = {name: each for name, (_, each) in streams(settings, registry).items()}
    http = create_app(reader, registry, plans=plan).test_client()

    def get(path):
        answer = http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    return get, registry
