"""The audit of history: levels rise, and facts that are not the chain's are found."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from db import proofs, sources
from db.errors import LeaseLost
from db.incidents import list_incidents
from db.position import BlockRange
from db.proofs import LogsProof, Proof
from db.schema import migrate
from helpers.business import ADDRESSES, REGISTRY, Moved, open_business, play
from helpers.following import catch_up, check
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer
from indexer.audit import Audit, FactsDiffer, audit
from indexer.errors import Retryable
from indexer.evm import proofs as evm_proofs
from indexer.follow import follow
from indexer.writer import rewind

TABLE = "facts." + Moved.spec.table


@pytest.fixture
def engine(db_engine, monkeypatch):
    migrate(db_engine, REGISTRY)
    monkeypatch.setattr(evm_proofs, "HEAD_BLOCKS", 5)
    monkeypatch.setattr("indexer.evm.source.HEAD_BLOCKS", 5)
    return db_engine


@pytest.fixture
def node():
    fake = FakeEvmChain()
    play(fake, 60, seed=31)
    with FakeRpcServer(fake, **EDGE) as running:
        yield running


def audited(engine, node, *, most=7, spoil=""):
    """Read everything, spoil a table, then audit until nothing is left; the ranges."""

    async def go():
        async with open_business(engine, node.url) as chain:
            await catch_up(chain)
            if spoil:
                with engine.begin() as connection:
                    assert connection.execute(text(spoil)).rowcount == 1
            done, found = Audit(), []
            while (proved := await audit(chain, done, most)) is not None:
                found.append(proved)
            return found

    return asyncio.run(go())


def lowest(engine, last):
    with engine.connect() as connection:
        return proofs.lowest(connection, 1, BlockRange(0, last))


def test_history_is_raised_to_what_the_chain_can_prove(engine, node):
    async def read():
        async with open_business(engine, node.url) as chain:
            await catch_up(chain)

    asyncio.run(read())
    assert lowest(engine, node.chain.head) == Proof()

    found = audited(engine, node)

    assert found[0].first == 0
    assert all(each.blocks <= 7 for each in found)
    assert lowest(engine, node.chain.head).logs is LogsProof.BLOOM
    assert audited(engine, node) == []
    check(engine, node.chain)


ONE = f"(SELECT position FROM {TABLE} ORDER BY position OFFSET 3 LIMIT 1)"


@pytest.mark.parametrize(
    "spoil",
    [
        f"DELETE FROM {TABLE} WHERE position = {ONE}",
        f"UPDATE {TABLE} SET value = value + 1 WHERE position = {ONE}",
        f"UPDATE {TABLE} SET position = position + 1000 WHERE position = {ONE}",
        f"UPDATE {TABLE} SET block_time = block_time - 1 WHERE position = {ONE}",
    ],
)
def test_facts_that_are_not_the_chains_stop_it_and_the_remedy_works(
    engine, node, spoil
):
    with pytest.raises(FactsDiffer, match="Run `chainfold rewind fake") as caught:
        audited(engine, node, spoil=spoil)

    height = int(str(caught.value).split("rewind fake ")[1].split("`")[0])
    rewind(engine, REGISTRY, 1, height)
    audited(engine, node)
    check(engine, node.chain)


def follow_and_audit(engine, node, *, spoil="", guard=None, down=False):
    """Follow with the audit on; what ended it, and the chain's row."""

    async def go():
        async with open_business(engine, node.url) as chain:
            await catch_up(chain)
            if spoil:
                with engine.begin() as connection:
                    connection.execute(text(spoil))
            chain.guard = guard
            stop = asyncio.Event()
            if down:  # what is asked for between two polls fails
                chain.source.prove = unreachable
            loop = asyncio.create_task(
                follow(chain, stop, poll_seconds=0.01, audit_blocks=7)
            )
            done, _ = await asyncio.wait([loop], timeout=5 if down else 60)
            stop.set()
            await asyncio.wait([loop])
            return loop.exception()

    error = asyncio.run(go())
    with engine.connect() as connection:
        return error, sources.find(connection, "fake"), list_incidents(connection)


async def unreachable(*_):
    raise Retryable("nobody answers")


def test_facts_that_differ_stop_the_chain_with_an_incident(engine, node):
    spoil = f"DELETE FROM {TABLE} WHERE position = {ONE}"

    error, row, incidents = follow_and_audit(engine, node, spoil=spoil)

    assert isinstance(error, FactsDiffer)
    assert row.state == "stopped"
    assert [each.kind for each in incidents] == ["facts_differ"]
    assert incidents[0].cause == str(error)


def test_a_process_that_lost_its_place_in_an_audit_stops_no_chain(engine, node):
    """Whoever has the place now speaks for the chain."""
    polls = iter(range(3))  # the guard is asked when a state is set, then by the audit

    def guard(connection):
        if next(polls, None) is None:
            raise LeaseLost("another process follows it now: look there")

    error, row, incidents = follow_and_audit(engine, node, guard=guard)

    assert isinstance(error, LeaseLost)
    assert row.state == "following"
    assert incidents == []


def test_an_audit_that_cannot_be_made_now_is_no_trouble_of_the_chain(engine, node):
    error, row, _ = follow_and_audit(engine, node, down=True)

    assert error is None
    assert (row.state, row.cause) == ("following", "")


def test_facts_of_an_address_that_is_followed_no_more_are_no_difference(engine, node):
    """They stay when the settings follow less."""

    async def go():
        async with open_business(engine, node.url) as chain:
            await catch_up(chain)
        other = {**ADDRESSES, "Coin": {b"\x99" * 20: 0}}
        async with open_business(engine, node.url, addresses=other) as chain:
            await catch_up(chain)
            done, found = Audit(), []
            while (proved := await audit(chain, done, 7)) is not None:
                found.append(proved)
            return found

    assert asyncio.run(go())
    assert lowest(engine, node.chain.head).logs is LogsProof.BLOOM
