"""Positions of filtered logs, from nodes that count `logIndex` in two ways."""

from __future__ import annotations

import pytest

from db.position import BlockRange
from helpers.families import IDS, STRANGER, facts, noted, run, source_for, transfer
from helpers.recorded import logs as recorded_logs
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer, FakeTx
from indexer.evm.numbering import counted_by

OLD = {**EDGE, "log_index_per_transaction": True}
NEW = {**EDGE, "log_index_per_transaction": False}


def mixed_chain():
    """Transactions of ours behind those of strangers, with one to three logs each."""
    chain = FakeEvmChain()
    for n in range(1, 20):
        txs = [FakeTx([noted(STRANGER, n)] * (n % 3))]
        txs += [FakeTx([transfer(n), noted(STRANGER, n), transfer(n + 100)])]
        txs += [FakeTx([transfer(n + 200)])] * (n % 4 > 1)
        chain.mine(*txs)
    return chain


def read(urls, last, **options):
    source = source_for(*urls, mode="filtered", **options)
    return run(source, lambda s: s.fetch(BlockRange(0, last), IDS))


@pytest.mark.parametrize(("first", "kept"), [(OLD, "transaction"), (NEW, "block")])
def test_a_chain_keeps_the_way_of_counting_that_it_showed_first(first, kept):
    chain = mixed_chain()
    with FakeRpcServer(chain, **first) as node:
        learnt = read([node.url], chain.head)
    assert learnt.traits["log_index"] == kept

    for later in (OLD, NEW):
        with FakeRpcServer(chain, **later) as node:
            batch = read([node.url], chain.head, traits=learnt.traits)
        assert facts(batch) == facts(learnt)


def test_endpoints_of_two_versions_give_one_set_of_positions():
    chain = mixed_chain()
    with FakeRpcServer(chain, **OLD) as node:
        expected = facts(read([node.url], chain.head))

    with FakeRpcServer(chain, **OLD) as old, FakeRpcServer(chain, **NEW) as new:

        async def follow(source):
            found = []
            for height in range(1, chain.head + 1):
                old.down, new.down = height % 5 < 2, height % 5 > 2
                found.append(await source.fetch(BlockRange(height, height), IDS))
            return found

        source = source_for(
            old.url, new.url, mode="filtered", traits={"log_index": "transaction"},
            attempts=50,
        )  # fmt: skip
        batches = run(source, follow)

    assert facts(*batches) == expected


def test_where_only_first_transactions_have_logs_nothing_is_asked_or_learnt():
    chain = FakeEvmChain()
    for n in range(5):
        chain.mine(transfer(n), noted(STRANGER, n), transfer(n + 50))
    with FakeRpcServer(chain, **NEW) as node:
        batch = read([node.url], 5)
        assert node.calls["eth_getLogs"] == 1

    assert "log_index" not in batch.traits


def test_recorded_blocks_tell_how_their_nodes_count():
    assert counted_by(recorded_logs()) == "transaction"
