"""Fees of payers followed by settings alone."""

import asyncio

import pytest
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer
from sqlalchemy import text

from api.app import create_app
from db import reads
from db.schema import migrate
from devnet.solana.client import Devnet, TransactionFailedError
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.bare import settings_of
from helpers.tables import problems
from ops.indexing import declared, streams
from ops.running import catch_up
from ops.settings import SettingsError

SETTINGS = """
domains = []

[database]
url = "{database}"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[chains.local.payers]
operator = "{operator}"
late = {{ address = "{late}", start = {start} }}

[tables.costs]
doc = "What each payer spent on fees, and what of it for nothing."
payer = "Key()"
lamports = "Sum(fees.FeePaid.lamports)"
wasted = "Sum(fees.FeePaid.only(fees.FeePaid.failed == True).lamports)"
"""


@pytest.mark.chain
def test_what_payers_spent_is_a_table(tmp_path, db_engine):
    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as node:
        operator, late = Devnet(node.url), Devnet(node.url)
        for each in (operator, late):
            each.fund()
        friend = Keypair().pubkey()

        def pay(who, lamports, **config):
            given = TransferParams(
                from_pubkey=who.payer.pubkey(), to_pubkey=friend, lamports=lamports
            )
            return who.send(transfer(given), **config)

        pay(late, 10**8)  # before it is followed
        start = late.advance(2)
        sent = [pay(operator, 10**8), pay(operator, 10**7), pay(late, 10**8)]
        with pytest.raises(TransactionFailedError):
            pay(operator, 10**18, skipPreflight=True)
        operator.advance(8)
        settings = settings_of(
            tmp_path,
            SETTINGS.format(
                database=db_engine.url.render_as_string(hide_password=False),
                genesis=operator.call("getGenesisHash")[:32], url=node.url,
                operator=operator.payer.pubkey(), late=late.payer.pubkey(), start=start,
            ),
        )  # fmt: skip
        registry = declared(settings)
        migrate(db_engine, registry)
        chain = settings.chains["local"]
        asyncio.run(catch_up(settings, chain, db_engine, registry))

    reader = reads.read_engine(db_engine.url.render_as_string(hide_password=False))
    plans = {name: each for name, (_, each) in streams(settings, registry).items()}
    http = create_app(reader, registry, plans=plans).test_client()
    paid = http.get("/api/v1/events/fees_fee_paid").json["data"]
    costs = http.get("/api/v1/costs").json["data"]

    assert {each["transaction"] for each in paid if not each["failed"]} == set(sent)
    assert {row["payer"]: (row["lamports"], row["wasted"]) for row in costs} == {
        str(operator.payer.pubkey()): ("15000", "5000"),
        str(late.payer.pubkey()): ("5000", "0"),
    }
    with db_engine.connect() as connection:
        assert problems(connection, registry) == []
        failed = text("SELECT count(*) FROM control.failed_transaction")
        assert connection.execute(failed).scalar_one() == 0  # of no followed program
    reader.dispose()


def test_a_payer_is_followed_once(tmp_path):
    key = Keypair().pubkey()
    content = SETTINGS.format(
        database="postgresql:///x", genesis="1" * 32, url="http://localhost:1",
        operator=key, late=key, start=3,
    )  # fmt: skip

    with pytest.raises(SettingsError, match="payers.late: .* is already .*operator"):
        settings_of(tmp_path, content)
