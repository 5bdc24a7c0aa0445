"""A real Polygon Edge network, indexed: what no double of ours can show."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from sqlalchemy import text

from abis import load_artifact
from db import proofs, sources
from db.position import BlockRange
from db.proofs import HeaderProof, LogsProof, Proof
from db.schema import migrate
from db.status import chain_status
from devnet.deploy import dev_account
from helpers.edge import Sender, receipts_of, send_all
from helpers.servers import engine_on, fresh_database
from helpers.tables import problems
from indexer.audit import Audit, audit
from indexer.follow import Behind, CaughtUp, step
from ops.indexing import declared, open_chain
from ops.settings import load_settings

pytestmark = [pytest.mark.chain, pytest.mark.edge]

SETTINGS = """
[chains.edge]
id = "eip155:100"
rpc = {urls}
finality = "ibft"
logs = "{logs}"
poll_seconds = 0.2

[chains.edge.contracts]
IssuerRegistry = "{IssuerRegistry}"
CampaignFactory = "{CampaignFactory}"

[contracts.gold]
abi = "gold.json"
address = "{TestToken}"
"""


BURSTS_MOST = 6  # a burst may straddle blocks, and be cut on a busy machine


@pytest.fixture(scope="module")
def played(network, deployment):
    """Token transfers in bursts of 260, then issuers and campaigns; their receipts."""
    registry = deployment.contract("IssuerRegistry")
    factory = deployment.contract("CampaignFactory")
    gold, rpc = deployment.contract("TestToken"), network.nodes[0].rpc
    owner, operator = Sender(0, rpc), Sender(1, rpc)
    people = [Sender(at, rpc) for at in range(2, 15)]
    first = [owner.send(gold, "transfer", p.address, 10**18 + p.index) for p in people]
    receipts = receipts_of(rpc, first)
    for _ in range(BURSTS_MOST):
        burst = [
            person.sign(gold, "transfer", dev_account((person.index + n) % 20), 7**n)
            for n in range(20)
            for person in people
        ]
        receipts += receipts_of(rpc, send_all(rpc, burst))
        if fullest(receipts) >= 200:
            break
    issuers = [
        operator.send(registry, "registerIssuer", person.address, f"vc-{n}", "ipfs://é")
        for n, person in enumerate(people[:5])
    ]
    receipts += receipts_of(rpc, issuers)
    campaigns = [
        operator.send(
            factory, "createCampaign", f"C-{n}", "Acme", "Coffee, washed",
            10**18 + n, 40 * 86_400 + n, "doc", person.address,
        )
        for n, person in enumerate(people[:5])
    ]  # fmt: skip
    return receipts + receipts_of(rpc, campaigns)


@pytest.fixture(params=["all", "filtered"])
def either(request, make_index):
    """The chain's index, with every log and with filtered logs."""
    return make_index(request.param)


@pytest.fixture
def indexed(make_index):
    """The chain's index, with every log."""
    return make_index("all")


@pytest.fixture
def make_index(tmp_path, network, deployment, postgres_url):
    """Make a database of its own and the way to read the chain into it."""
    (tmp_path / "gold.json").write_text(json.dumps(load_artifact("TestToken")["abi"]))
    addresses = {name: each.address for name, each in deployment.contracts.items()}
    file = tmp_path / "chainfold.toml"
    with fresh_database(postgres_url) as url, engine_on(url) as engine:

        def make(logs):
            urls = json.dumps(network.urls)
            file.write_text(SETTINGS.format(urls=urls, logs=logs, **addresses))
            return Indexed(file, engine)

        yield make


class Indexed:
    """The product's own way from a settings file to a chain that is read."""

    def __init__(self, file, engine):
        self.settings = load_settings(str(file))
        self.engine = engine
        self.registry = declared(self.settings)
        migrate(engine, self.registry)

    def read(self, steps=200):
        """Step until caught up or behind; the outcomes."""

        async def go():
            opened = open_chain(self.settings, "edge", self.engine, self.registry)
            async with opened as chain:
                found = []
                for _ in range(steps):
                    found.append(await step(chain))
                    if isinstance(found[-1], (CaughtUp, Behind)):
                        return found
                raise AssertionError("never caught up")

        return asyncio.run(go())

    def rows(self, query):
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    @property
    def source(self):
        with self.engine.connect() as connection:
            return sources.find(connection, "edge")


def fullest(receipts):
    """The most of these transactions that are in one block."""
    return max(Counter(receipt["blockNumber"] for receipt in receipts).values())


def transfers_in(receipts):
    """(transaction, from, to, value) of each transfer, in the order of the chain."""
    placed = sorted(
        receipts,
        key=lambda r: (int(r["blockNumber"], 16), int(r["transactionIndex"], 16)),
    )
    return [
        (
            bytes.fromhex(receipt["transactionHash"][2:]),
            bytes.fromhex(log["topics"][1][26:]),
            bytes.fromhex(log["topics"][2][26:]),
            int(log["data"], 16),
        )
        for receipt in placed
        for log in receipt["logs"]
        if log["topics"][0].startswith("0xddf252ad")
    ]


def test_every_fact_is_that_of_the_receipts(either, network, deployment, played):
    indexed = either
    outcomes = indexed.read()

    assert isinstance(outcomes[-1], CaughtUp)
    rows = indexed.rows(
        "SELECT transaction, from_, to_, value FROM facts.gold_transfer"
        " ORDER BY position"
    )
    found = [(*map(bytes, row[:3]), int(row[3])) for row in rows]
    mine = [row for row in found if row[1] != bytes(20)]  # the supply was minted before
    assert mine == transfers_in(played)
    assert fullest(played) > 100, "no burst filled a block"
    assert len(indexed.rows("SELECT 1 FROM public.issuers")) == 5
    assert len(indexed.rows("SELECT 1 FROM public.campaigns")) == 5
    with indexed.engine.connect() as connection:
        assert problems(connection, indexed.registry) == []


def test_blocks_near_the_head_are_proved_by_seals_and_receipts(
    indexed, network, deployment, played
):
    indexed.read()

    source = indexed.source
    assert source.traits["bloom"] == "none"
    assert source.traits["header"] == "ibft"
    assert source.traits["receipts"] == "standard"
    with indexed.engine.connect() as connection:
        reached = chain_status(connection, source.id).checkpoint
        everything = BlockRange(0, reached)
        full = proofs.lacking(
            connection, source.id, LogsProof.RECEIPTS, everything, 100
        )
        lowest = proofs.lowest(connection, source.id, everything)
    assert lowest.header is HeaderProof.SEALS
    # Only blocks with more transactions than fit a request are not proved by receipts.
    counts = [len(network.block(h)["transactions"]) for b in full for h in (b.first,)]
    assert all(count > 20 for count in counts)


def test_where_receipts_are_required_every_block_is_proved_by_them(
    indexed, network, deployment, played, tmp_path
):
    file = tmp_path / "chainfold.toml"
    required = '[chains.edge.require]\nheader = "seals"\nlogs = "receipts"\n'
    file.write_text(file.read_text() + required)
    indexed.settings = load_settings(str(file))

    indexed.read()

    with indexed.engine.connect() as connection:
        source = indexed.source.id
        reached = chain_status(connection, source).checkpoint
        found = proofs.lowest(connection, source, BlockRange(0, reached))
    assert found == Proof(HeaderProof.SEALS, LogsProof.RECEIPTS)


def test_history_that_was_read_unproved_is_raised_by_the_audit(
    indexed, network, deployment, played, monkeypatch
):
    monkeypatch.setattr("indexer.evm.source.HEAD_BLOCKS", 0)
    monkeypatch.setattr("indexer.evm.proofs.HEAD_BLOCKS", 0)
    reached = indexed.read()[-1].head.height
    with indexed.engine.connect() as connection:
        before = proofs.lowest(connection, indexed.source.id, BlockRange(0, reached))
    assert before == Proof()

    async def go():
        opened = open_chain(indexed.settings, "edge", indexed.engine, indexed.registry)
        async with opened as chain:
            done = Audit()
            while await audit(chain, done, 10):
                pass

    asyncio.run(go())

    with indexed.engine.connect() as connection:
        after = proofs.lowest(connection, indexed.source.id, BlockRange(0, reached))
    assert after == Proof(HeaderProof.SEALS, LogsProof.RECEIPTS)


def test_a_validator_that_is_killed_or_hangs_stops_nothing(
    indexed, network, deployment, played
):
    """The first endpoint is the one that dies, and comes back; then it hangs."""
    indexed.read()
    network.kill(0)
    try:
        before = network.height(1)
        network.wait_for_height(before + 2, [1, 2, 3])
        assert indexed.read()[-1].head.height >= before + 2
    finally:
        network.start(0)
    network.wait_for_height(network.height(1))
    network.pause(0)
    try:
        assert indexed.read()[-1].head.height >= before + 2
    finally:
        network.go_on(0)
    with indexed.engine.connect() as connection:
        assert problems(connection, indexed.registry) == []
