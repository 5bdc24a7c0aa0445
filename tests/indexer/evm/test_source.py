"""The source against nodes as they are: late, behind, limited, wrong, reorganised."""

# ruff: noqa: SIM117 - the node first, then what is expected of it
from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from db.declare import Contract, Event, Uint
from db.position import BlockRange
from db.proofs import Verify
from helpers.families import (
    CHAIN,
    FACTORY,
    IDS,
    NFT,
    STRANGER,
    TOKEN,
    TRANSFER,
    TRANSFER_NFT,
    NftTransfer,
    Noted,
    Transfer,
    address,
    born,
    busy_chain,
    contracts,
    event,
    facts,
    fetch,
    made,
    nft,
    noted,
    places,
    run,
    source_for,
    spoke,
    token,
    transfer,
)
from helpers.rpc import (
    EDGE,
    FakeEvmChain,
    FakeLog,
    FakeRpcServer,
    FakeTx,
    Faults,
    RpcFault,
    log_for,
)
from indexer.errors import Permanent, Retryable
from indexer.evm.client import RpcClient
from indexer.evm.proofs import ProofPolicy
from indexer.evm.source import Depth, EvmSource, FollowedContract, Ibft, Tag
from indexer.rpc.endpoint import Health
from indexer.rpc.limits import MemoryLimitsStore
from indexer.source import Child, Source


def test_it_is_a_source():
    source: Source = source_for("http://127.0.0.1:9")

    assert (source.name, source.chain_id) == ("test", CHAIN)


def test_a_range_is_read_with_all_its_headers_in_order():
    chain = busy_chain(40)
    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 3, 40)

    assert [h.height for h in batch.headers] == list(range(3, 41))
    assert [h.hash for h in batch.headers] == [b.hash for b in chain.blocks[3:]]
    assert batch.headers[5].time == chain.blocks[8].time
    assert len(facts(batch)) > 3


@pytest.mark.parametrize("mode", ["all", "filtered"])
@pytest.mark.parametrize("switches", [{}, EDGE], ids=["geth", "edge"])
def test_any_split_of_history_gives_the_same_facts(mode, switches):
    """Also when ranges are read by a source that learnt its children on the way."""
    chain = busy_chain(60)
    with FakeRpcServer(chain, **switches) as node:
        whole = facts(fetch(node.url, 0, 60, mode=mode))
        for seed in range(4):
            rolls = random.Random(seed)
            cuts = sorted({0, 61, *rolls.sample(range(1, 61), 6)})

            async def parts(source, cuts=cuts):
                return [
                    await source.fetch(BlockRange(first, last - 1), IDS)
                    for first, last in pairwise(cuts)
                ]

            source = source_for(node.url, mode=mode, target_bytes=3000)
            assert whole == facts(*run(source, parts))


def test_both_modes_find_the_same_facts_in_the_same_order():
    """Only the ordinals differ."""
    with FakeRpcServer(busy_chain(60)) as node:
        found = [facts(fetch(node.url, 0, 60, mode=m)) for m in ("all", "filtered")]

    without = [
        {name: [(row[0] >> 32, *row[1:]) for row in rows] for name, rows in f.items()}
        for f in found
    ]
    assert without[0] == without[1]


def test_log_index_that_restarts_in_each_transaction_loses_nothing():
    """Polygon Edge <= 0.9 numbers 0,1,0,1,0,1; after an upgrade it says 0..5."""
    chain = FakeEvmChain()
    chain.mine(*(FakeTx([transfer(2 * tx), transfer(2 * tx + 1)]) for tx in range(3)))

    with FakeRpcServer(chain, log_index_per_transaction=True) as node:
        before = fetch(node.url, 1, 1)
        node.log_index_per_transaction = False
        after = fetch(node.url, 1, 1)

    assert places(before, "Transfer") == [(1, n) for n in range(6)]
    assert facts(before) == facts(after)


def test_filtered_positions_are_transaction_and_log_index():
    chain = FakeEvmChain()
    chain.mine(FakeTx([transfer(1, STRANGER)]), FakeTx([transfer(2), transfer(3)]))

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 1, mode="filtered")
        query, _whole = [  # the second tells how the node counts
            call["params"][0]
            for body in node.bodies
            for call in (body if isinstance(body, list) else [body])
            if call["method"] == "eth_getLogs"
        ]

    assert places(batch, "Transfer") == [(1, 1 << 18 | 1), (1, 1 << 18 | 2)]
    assert "0x" + TOKEN.hex() in query["address"]


def test_logs_out_of_order_are_put_in_chain_order():
    chain = FakeEvmChain()
    chain.mine(*(FakeTx([transfer(n)]) for n in range(4)))
    chain.mine(transfer(9))

    def reverse(method, params, result):
        return result[::-1] if method == "eth_getLogs" else result

    with FakeRpcServer(chain) as node:
        straight = fetch(node.url, 0, 2)
        node.alter = reverse
        assert facts(straight) == facts(fetch(node.url, 0, 2))


def test_empty_logs_are_not_believed_when_the_bloom_says_otherwise():
    """ponder#1852: nothing is returned for a block that has logs."""
    chain = FakeEvmChain()
    chain.mine(transfer(1))
    lies = [2]

    def forget(method, params, result):
        if method == "eth_getLogs" and lies[0]:
            lies[0] -= 1
            return []
        return result

    with FakeRpcServer(chain, alter=forget) as node:
        source = source_for(node.url)
        batch = run(source, lambda s: s.fetch(BlockRange(0, 1), IDS))
        assert places(batch, "Transfer") == [(1, 0)]
        assert source.status()["inconsistent"] == 2

        lies[0] = 1000
        with pytest.raises(Retryable, match="bloom"):
            fetch(node.url, 0, 1)


@pytest.mark.parametrize("change", ["drop", "add"])
def test_near_the_head_a_single_log_dropped_or_added_is_noticed(change):
    chain = FakeEvmChain()
    chain.mine(transfer(1), noted(STRANGER, 2))

    def lie(method, params, result):
        if method != "eth_getLogs":
            return result
        if change == "drop":
            return result[1:]
        return [*result, {**result[0], "address": "0x" + "77" * 20, "logIndex": "0x7"}]

    with FakeRpcServer(chain, alter=lie) as node:
        with pytest.raises(Retryable, match="bloom"):
            fetch(node.url, 0, 1)
        # Without the check it would have passed.
        fetch(node.url, 0, 1, policy=ProofPolicy(Verify.NEVER))


def test_two_nodes_behind_one_address_lose_nothing():
    """geth#24078: the balancer sends every other request to a node 5 blocks behind."""
    chain = busy_chain(12)

    async def follow(source):
        batches, at = [], 0
        while at < 60:
            chain.mine(transfer(at), noted(STRANGER, at))
            head = (await source.head()).height
            if head >= at:
                batches.append(await source.fetch(BlockRange(at, head), IDS))
                at = head + 1
        return batches

    with FakeRpcServer(chain, lags=[0, 5]) as node:
        batches = run(source_for(node.url, attempts=30), follow)
        last = batches[-1].range.last
        node.lags = [0]
        straight = fetch(node.url, 0, last)

    assert facts(straight) == facts(*batches)
    assert [h.height for b in batches for h in b.headers] == list(range(last + 1))


def test_the_header_of_the_last_block_is_asked_before_the_logs_in_one_request():
    with FakeRpcServer(busy_chain(5), **EDGE) as node:
        fetch(node.url, 1, 5)
        (body,) = [b for b in node.bodies if isinstance(b, list)]

    assert [call["method"] for call in body[:2]] == [
        "eth_getBlockByNumber",
        "eth_getLogs",
    ]
    assert body[0]["params"][0] == "0x5"


def test_the_header_and_the_logs_are_of_one_endpoint():
    """Also when they cannot travel together: what failed half-way starts anew."""
    chain = FakeEvmChain()
    for n in range(10):
        chain.mine(transfer(n))
    trouble = [3]

    def stumble(method, params, result):
        if method == "eth_getLogs" and trouble[0]:
            trouble[0] -= 1
            raise RpcFault(-32000, "please wait")
        return result

    with (
        FakeRpcServer(chain, max_batch=1, alter=stumble) as first,
        FakeRpcServer(chain, lags=[5]) as behind,
    ):
        batch = fetch([first.url, behind.url], 1, 10, mode="filtered", attempts=20)
        assert behind.calls["eth_getLogs"] > 0

    assert len(places(batch, "Transfer")) == 10


def test_logs_past_the_head_are_a_wait_and_never_a_range_without_logs():
    """squid-sdk#376: neither an error text nor a cut answer is a crash or the truth."""
    for cut in (True, False):
        with FakeRpcServer(busy_chain(10), cut_at_head=cut) as node:
            with pytest.raises(Retryable):
                fetch(node.url, 5, 11, attempts=3)


def test_a_node_that_falls_back_and_recovers_changes_nothing():
    """ponder#2221, graph-node#5586."""
    chain = busy_chain(150)

    async def work(source):
        seen = [await source.head()]
        taken = chain.truncate(50)
        seen.append(await source.head())
        chain.restore(taken)
        seen.append(await source.head())
        return [header.height for header in seen]

    with FakeRpcServer(chain) as node, FakeRpcServer(busy_chain(150)) as other:
        alone = source_for(node.url)
        assert run(alone, work) == [150, 50, 150]
        assert alone.head_regressions == 1

        # With a second endpoint that has not moved, the first is not believed.
        pair = source_for(node.url, other.url)
        assert run(pair, work) == [150, 150, 150]

        # Nor while the second cannot be asked.
        silent = source_for(node.url, other.url)
        other.down = True
        assert run(silent, work) == [150, 150, 150]


def test_a_node_that_stands_still_is_checked_against_another():
    frozen, moving = busy_chain(30), busy_chain(30)

    async def work(source):
        heads = [(await source.head()).height]
        moving.mine_many(20)
        heads.append((await source.head()).height)
        time.now += 11
        heads.append((await source.head()).height)
        await asyncio.gather(*source._looking)
        heads.append((await source.head()).height)
        return heads

    with FakeRpcServer(frozen) as first, FakeRpcServer(moving) as second:
        source = source_for(first.url, second.url)
        time = source._client.clock.__self__
        assert run(source, work) == [30, 30, 30, 50]
        assert source._client.endpoints[0].health is Health.LAGGING


def test_an_endpoint_that_caught_up_is_used_again():
    chain = busy_chain(30)

    async def work(source):
        await source.head()
        taken = chain.truncate(10)
        await source.head()
        health = [source._client.endpoints[0].health]
        chain.restore(taken)
        time.now += 11
        await source.head()
        await asyncio.gather(*source._looking)
        health.append(source._client.endpoints[0].health)
        before = first.requests
        await source.head()
        return health, first.requests - before

    with FakeRpcServer(chain) as first, FakeRpcServer(busy_chain(30)) as second:
        source = source_for(first.url, second.url)
        time = source._client.clock.__self__
        assert run(source, work) == ([Health.LAGGING, Health.OK], 1)


def test_an_endpoint_that_fell_back_is_called_lagging():
    chain = busy_chain(30)

    async def work(source):
        await source.head()
        chain.truncate(10)
        await source.head()
        batch = await source.fetch(BlockRange(0, 30), IDS)
        return batch, list(source._client.verdicts().values())

    with FakeRpcServer(chain) as first, FakeRpcServer(busy_chain(30)) as second:
        batch, verdicts = run(source_for(first.url, second.url), work)
        assert facts(batch) == facts(fetch(second.url, 0, 30))

    assert [health for health, _ in verdicts] == [Health.LAGGING, Health.OK]
    assert "20 blocks behind" in verdicts[0][1]


def test_edge_limits_are_met_twice_and_never_again():
    """hyperindex#716: also in the next process, and each endpoint has its own."""
    chain = FakeEvmChain()
    chain.mine_many(2600)
    store = MemoryLimitsStore()

    async def work(source):
        for first in (0, 500):
            await source.fetch(BlockRange(first, 2600), IDS)

    with FakeRpcServer(chain, **EDGE) as node, FakeRpcServer(chain) as free:
        for mode in ("filtered", "all", "filtered"):
            run(source_for(node.url, limits_store=store, mode=mode), work)
            run(source_for(free.url, limits_store=store, mode=mode), work)

        assert node.refused == 2
        assert free.refused == 0
        kept = {limits.max_range for limits in store._limits.values()}
        assert kept == {1001}


@pytest.mark.parametrize("text", ["block range too high", "computer says no"])
def test_a_range_limit_without_a_number_is_found(text):
    chain = busy_chain(300)
    with FakeRpcServer(chain, max_range=37, range_text=text) as node:
        found = facts(fetch(node.url, 0, 300, mode="filtered"))
        node.max_range = None
        assert found == facts(fetch(node.url, 0, 300, mode="filtered"))
        assert node.refused < 25


def test_a_limit_on_results_cuts_the_range():
    chain = FakeEvmChain()
    for _ in range(64):
        chain.mine(*(transfer(n) for n in range(10)))

    with FakeRpcServer(chain, max_results=100) as node:
        batch = fetch(node.url, 0, 64)
        assert len(places(batch, "Transfer")) == 640

        node.max_results = 5
        with pytest.raises(Permanent, match="alone is too large"):
            fetch(node.url, 0, 64)


def test_a_chain_that_changes_while_it_is_read_is_read_again():
    """Headers that do not link, and logs of another hash, are never put together."""
    for what in ("parentHash", "blockHash"):
        chain = FakeEvmChain()
        for n in range(10):
            chain.mine(transfer(n))

        def lie(method, params, result, what=what):
            fifth = method == "eth_getBlockByNumber" and result["number"] == "0x5"
            if what == "parentHash" and fifth:
                return {**result, "parentHash": "0x" + "00" * 32}
            if what == "blockHash" and method == "eth_getLogs":
                return [{**log, "blockHash": "0x" + "00" * 32} for log in result]
            return result

        with FakeRpcServer(chain, alter=lie) as node:
            with pytest.raises(Retryable, match="read again"):
                fetch(node.url, 0, 10)


def test_a_reorg_between_two_parts_is_noticed():
    chain = busy_chain(200)
    asked = [0]

    def reorganise(method, params, result):
        if method == "eth_getLogs":
            asked[0] += 1
            if asked[0] == 2:
                chain.reorg(190)
        return result

    with FakeRpcServer(chain, alter=reorganise) as node:
        with pytest.raises(Retryable, match="read again"):
            fetch(node.url, 0, 200)


@pytest.mark.parametrize(
    "change",
    [
        {"removed": True},
        {"blockNumber": "0x63"},
        {"blockNumber": "0x"},
        {"transactionIndex": None},
        {"topics": "0x"},
        {"data": None},
    ],
    ids=str,
)
def test_logs_that_cannot_be_are_asked_for_again(change):
    chain = FakeEvmChain()
    chain.mine(transfer(1))
    for mode in ("all", "filtered"):

        def lie(method, params, result):
            if method == "eth_getLogs":
                return [{**log, **change} for log in result]
            return result

        with FakeRpcServer(chain, alter=lie) as node, pytest.raises(Retryable):
            fetch(node.url, 0, 1, attempts=2, mode=mode)


def test_a_log_sent_twice_is_not_two_facts():
    chain = FakeEvmChain()
    chain.mine(transfer(1))

    def double(method, params, result):
        return result * 2 if method == "eth_getLogs" else result

    with FakeRpcServer(chain, alter=double) as node:
        with pytest.raises(Retryable, match="same place"):
            fetch(node.url, 0, 1, mode="filtered")


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_a_storm_of_faults_gives_the_same_facts(mode):
    """Seeded: 429, 500, HTML, cut JSON, dropped connections, a lagging node."""
    kinds = ("429", "500", "html", "truncated", "drop")
    for seed in range(3):
        chain = busy_chain(50, seed)
        with FakeRpcServer(chain, **EDGE) as node:
            expected = facts(fetch(node.url, 0, 50, mode=mode))
            node.faults = Faults(seed, share=0.4, kinds=kinds)
            node.lags = [0, 3]
            assert expected == facts(fetch(node.url, 0, 50, mode=mode, attempts=40))
            assert node.faulted


def test_empty_logs_at_random_are_outvoted_by_blooms():
    for seed in range(3):
        chain = busy_chain(50, seed)
        with FakeRpcServer(chain) as node:
            expected = facts(fetch(node.url, 0, 50))
            node.faults = Faults(seed, share=0.5, most=2, kinds=("empty_logs",))
            found = facts(fetch(node.url, 0, 50, target_bytes=3000))
            assert expected == found


# Factories


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_a_child_speaks_before_it_is_announced(mode):
    """A clone's own logs come before the factory's, in the same transaction."""
    kid = address(1)
    chain = FakeEvmChain()
    chain.mine(noted(kid, 1))  # nobody can know this address yet
    chain.mine(noted(kid, 2), made(kid), noted(kid, 3))
    chain.mine(noted(kid, 4))

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 3, mode=mode)

    assert [place[0] for place in places(batch, "Noted")] == [2, 2, 3]
    assert batch.children == [Child("Child", kid, 2)]


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_families_of_any_depth_are_found_in_one_block(mode):
    kid, grandkid = address(1), address(2)
    chain = FakeEvmChain()
    chain.mine(spoke(grandkid, 1), born(kid, grandkid), noted(kid, 2), made(kid))
    chain.mine(spoke(grandkid, 3))

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 2, mode=mode)

    assert [place[0] for place in places(batch, "Spoke")] == [1, 2]
    assert len(places(batch, "Noted")) == 1
    assert {c.address: c.contract for c in batch.children} == {
        kid: "Child",
        grandkid: "Grandchild",
    }


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_children_are_found_again_after_a_restart(mode):
    """ponder#2345, #2271: known children come from the database."""
    kid = address(1)
    chain = FakeEvmChain()
    chain.mine(made(kid))
    chain.mine(noted(kid, 2))

    with FakeRpcServer(chain) as node:
        (found,) = fetch(node.url, 0, 1, mode=mode).children
        assert places(fetch(node.url, 2, 2, mode=mode), "Noted") == []
        after = fetch(node.url, 2, 2, mode=mode, known_children=[found])

    assert len(places(after, "Noted")) == 1


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_more_than_a_thousand_children(mode):
    kids = [address(n) for n in range(1100)]
    chain = FakeEvmChain()
    for at in range(0, 1100, 100):
        chain.mine(*(made(kid) for kid in kids[at : at + 100]))
    chain.mine(*(noted(kid, 1) for kid in kids))
    chain.mine(noted(STRANGER, 1), noted(kids[0], 5))

    async def twice(source):
        first = await source.fetch(BlockRange(0, 12), IDS)
        second = await source.fetch(BlockRange(12, 13), IDS)
        return first, second

    with FakeRpcServer(chain) as node:
        first, second = run(source_for(node.url, mode=mode), twice)
        queries = [
            call["params"][0]
            for body in node.bodies
            for call in (body if isinstance(body, list) else [body])
            if call["method"] == "eth_getLogs"
        ]

    assert len(places(first, "Noted")) == 1100
    assert len(places(second, "Noted")) == 1101
    assert len(first.children) == 1100
    assert all(len(query.get("address", [])) <= 1000 for query in queries)
    if mode == "filtered":
        assert "address" not in queries[-1]
        assert "topics" in queries[-1]


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_a_child_announced_twice_is_one_child_from_its_first_block(mode):
    kid = address(1)
    chain = FakeEvmChain()
    chain.mine(made(kid, "first"))
    chain.mine(noted(kid, 2))
    chain.mine(made(kid, "again"), made(kid, "and again"))

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 3, mode=mode)

    assert batch.children == [Child("Child", kid, 1)]
    assert len(places(batch, "Noted")) == 1
    assert len(places(batch, "Made")) == 3


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_a_child_that_is_also_configured_counts_from_the_earlier_block(mode):
    kid = address(1)
    chain = FakeEvmChain()
    for amount in range(1, 4):
        chain.mine(noted(kid, amount))
    chain.mine(made(kid), noted(kid, 4))

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 4, mode=mode, contracts=contracts({kid: 2}))

    assert [place[0] for place in places(batch, "Noted")] == [2, 3, 4]


def test_children_are_discovered_without_reading_facts():
    kid, grandkid = address(1), address(2)
    chain = FakeEvmChain()
    chain.mine(born(kid, grandkid), made(kid))
    chain.mine_many(50)
    chain.mine(*(transfer(n) for n in range(50)))

    with FakeRpcServer(chain, **EDGE) as node:
        source = source_for(node.url)

        async def work(source):
            found = await source.discover(BlockRange(0, 52))
            source.forget_children(0)
            blind = await source.fetch(BlockRange(2, 52), IDS)
            source.learn_children(found)
            return found, blind

        found, blind = run(source, work)
        assert node.calls["eth_getBlockByNumber"] <= 60

    assert list(found) == [Child("Child", kid, 1), Child("Grandchild", grandkid, 1)]
    assert blind.children == []


def test_children_of_blocks_that_were_undone_are_forgotten():
    kid = address(1)
    chain = FakeEvmChain()
    chain.mine(made(kid))

    async def work(source):
        await source.fetch(BlockRange(0, 1), IDS)
        chain.rewrite(1, noted(kid, 1))
        source.forget_children(1)
        return await source.fetch(BlockRange(1, 1), IDS)

    with FakeRpcServer(chain) as node:
        assert places(run(source_for(node.url), work), "Noted") == []


# Events


def test_only_the_events_asked_for_are_given_but_children_always():
    kid = address(1)
    chain = FakeEvmChain()
    chain.mine(made(kid), noted(kid, 1), transfer(1))

    for mode in ("all", "filtered"):
        with FakeRpcServer(chain) as node:
            batch = fetch(node.url, 0, 1, ids=[Noted.spec.id], mode=mode)
        assert [c.event for c in batch.facts] == [Noted]
        assert len(batch.children) == 1


def test_undecodable_logs_come_beside_the_facts():
    chain = FakeEvmChain()
    bad = transfer(1)
    chain.mine(transfer(5), FakeLog(TOKEN, bad.topics, bad.data[:-1]))

    with FakeRpcServer(chain, **EDGE) as node:
        batch = fetch(node.url, 0, 1)

    assert places(batch, "Transfer") == [(1, 0)]
    (log,) = batch.undecodable
    assert (log.position, log.emitter) == (1 << 32 | 1, TOKEN)
    assert log.event == "Token.Transfer(address,address,uint256)"
    assert log.transaction == chain.blocks[1].transactions[0][0]


def test_topics_nobody_declared_are_counted():
    chain = FakeEvmChain()
    paused = log_for(event("Paused"), TOKEN)
    chain.mine(paused, FakeLog(TOKEN, []), FakeLog(STRANGER, []), transfer(1))

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 1)

    assert batch.undecodable == []
    assert batch.stats["unknown_topics"] == 2
    assert batch.stats["logs"] == 4


def test_erc20_and_erc721_transfers_are_told_apart():
    """By address, and by the number of topics where an address stands for both."""
    people = {"from": b"\x01" * 20, "to": b"\x02" * 20}
    both = bytes([0xAE]) * 20
    followed = contracts()
    followed[0] = FollowedContract(token, {TOKEN: 0, both: 0}, [Transfer])
    followed[1] = FollowedContract(nft, {NFT: 0, both: 0}, [NftTransfer])
    chain = FakeEvmChain()
    chain.mine(
        transfer(1), log_for(TRANSFER_NFT, NFT, tokenId=2, **people),
        transfer(3, both), log_for(TRANSFER_NFT, both, tokenId=4, **people),
        log_for(TRANSFER_NFT, TOKEN, tokenId=5, **people),
    )  # fmt: skip

    with FakeRpcServer(chain) as node:
        batch = fetch(node.url, 0, 1, contracts=followed)

    assert places(batch, "Transfer") == [(1, 0), (1, 2)]
    assert places(batch, "NftTransfer") == [(1, 1), (1, 3)]
    assert [log.position & 0xFF for log in batch.undecodable] == [4]


def test_a_configured_address_counts_from_its_first_block():
    chain = FakeEvmChain()
    for n in range(4):
        chain.mine(transfer(n))
    followed = [FollowedContract(token, {TOKEN: 3}, [Transfer])]

    for mode in ("all", "filtered"):
        with FakeRpcServer(chain) as node:
            batch = fetch(node.url, 0, 4, contracts=followed, mode=mode)
        assert [place[0] for place in places(batch, "Transfer")] == [3, 4]


def test_nothing_followed_asks_for_no_logs():
    """An empty list of addresses would mean all of them."""
    with FakeRpcServer(busy_chain(20)) as node:
        batch = fetch(node.url, 0, 20, mode="filtered", contracts=[])
        assert (batch.facts, batch.stats["logs"]) == ([], 0)
        assert [batch.headers[0].height, batch.headers[-1].height] == [0, 20]

        late = [FollowedContract(token, {TOKEN: 50}, [Transfer])]
        batch = fetch(node.url, 0, 20, mode="filtered", contracts=late)
        assert batch.stats["logs"] == 0


def test_a_contract_declared_by_two_domains_is_followed_once():
    class Again(Event):
        source = Contract("Token", abi=[TRANSFER])
        name = "Transfer"
        value = Uint()

    followed = [
        FollowedContract(token, {TOKEN: 0}, [Transfer]),
        FollowedContract(Again.spec.source, {TOKEN: 0}, [Again]),
    ]
    chain = FakeEvmChain()
    chain.mine(transfer(1))

    with FakeRpcServer(chain) as node:
        ids = [Transfer.spec.id, Again.spec.id]
        batch = fetch(node.url, 0, 1, contracts=followed, ids=ids)

    assert {c.event.spec.name: len(c) for c in batch.facts} == {
        "Transfer": 1,
        "Again": 1,
    }


# Transactions of watched senders


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_transactions_of_watched_senders_with_what_became_of_them(mode):
    us, target = bytes([0x51]) * 20, bytes([0x52]) * 20
    chain = FakeEvmChain()
    chain.mine(
        FakeTx(sender=STRANGER),
        FakeTx([transfer(1)], sender=us, recipient=target, nonce=7, value=9),
    )
    chain.mine(FakeTx(sender=us, recipient=None, nonce=8, data=b"\xbe\xef",
                      reverted=b"\x08\xc3\x79\xa0"))  # fmt: skip

    with FakeRpcServer(chain, **EDGE) as node:
        batch = fetch(node.url, 0, 2, mode=mode, watch_senders={us})
        assert node.calls["eth_getTransactionReceipt"] == 2

    good, bad = batch.transactions
    assert (good.position, good.nonce, good.value) == (1 << 32 | 1, 7, 9)
    assert (good.sender, good.recipient) == (us, target)
    assert (good.succeeded, good.revert_data, good.gas_used) == (True, None, 21_000)
    assert good.hash == chain.blocks[1].transactions[1][0]
    assert good.block_time == chain.blocks[1].time
    assert (bad.recipient, bad.data, bad.succeeded) == (None, b"\xbe\xef", False)
    assert bad.revert_data == b"\x08\xc3\x79\xa0"


def test_a_receipt_that_is_late_is_waited_for():
    """ethereum-etl#362: a null receipt of a block we have is never an answer."""
    us = bytes([0x51]) * 20
    chain = FakeEvmChain()
    chain.mine(FakeTx(sender=us))

    with FakeRpcServer(chain, late_receipts=4) as node:
        batch = fetch(node.url, 0, 1, watch_senders={us})
        assert len(batch.transactions) == 1

        node.late_receipts = 10**6
        with pytest.raises(Retryable):
            fetch(node.url, 0, 1, watch_senders={us})


def test_a_receipt_of_another_block_is_not_believed():
    us = bytes([0x51]) * 20
    chain = FakeEvmChain()
    chain.mine(FakeTx(sender=us))

    def lie(method, params, result):
        if method == "eth_getTransactionReceipt":
            return {**result, "blockHash": "0x" + "00" * 32}
        return result

    with FakeRpcServer(chain, alter=lie) as node:
        with pytest.raises(Retryable, match="receipt"):
            fetch(node.url, 0, 1, watch_senders={us})


# Heads, headers and finality


def test_headers_by_height():
    chain = busy_chain(5)

    async def work(source):
        return [await source.header(height) for height in (0, 5, 6)]

    with FakeRpcServer(chain) as node:
        genesis, last, beyond = run(source_for(node.url), work)

    assert genesis.hash == chain.blocks[0].hash
    assert last.parent_hash == chain.blocks[4].hash
    assert beyond is None


def test_a_block_that_is_denied_with_an_error_is_not_there():
    def deny(method, params, result):
        if result is None:
            raise RpcFault(-32000, "header not found")
        return result

    with FakeRpcServer(busy_chain(3), alter=deny) as node:
        assert run(source_for(node.url), lambda s: s.header(8)) is None


def test_a_header_that_only_the_second_endpoint_has_is_found():
    with FakeRpcServer(busy_chain(3)) as behind, FakeRpcServer(busy_chain(9)) as ahead:
        found = run(source_for(behind.url, ahead.url), lambda s: s.header(8))

    assert found.height == 8


def test_finality_is_what_was_declared():
    chain = busy_chain(100)

    async def work(source):
        return await source.final_height(await source.head())

    with FakeRpcServer(chain, finalized=64) as node:
        for finality, expected in [
            (Ibft(), 100), (Tag(), 64), (Depth(30), 70), (Depth(101), -1),
        ]:  # fmt: skip
            assert run(source_for(node.url, finality=finality), work) == expected


def test_a_node_without_the_tag_names_the_remedy():
    async def work(source):
        return await source.final_height(await source.head())

    with FakeRpcServer(busy_chain(3), **EDGE) as node:
        with pytest.raises(Permanent, match='finality = "depth"'):
            run(source_for(node.url, finality=Tag()), work)


def test_the_chain_id_of_the_settings_must_be_the_clients():
    with pytest.raises(Permanent, match="eip155:31337"):
        EvmSource("x", "eip155:1", RpcClient(["http://a"], 31337), [], Ibft())


@pytest.mark.parametrize("then", ["gone", "another"])
def test_a_node_that_loses_a_block_behind_its_header_is_not_believed(then):
    """It had the block when asked for it, and its logs no more: too few, not none."""
    chain = FakeEvmChain()
    chain.mine(transfer(1))
    lost = []

    def alter(method, params, result):
        if method == "eth_getLogs" and not lost:
            lost.append(True)
            return []
        if method == "eth_getBlockByNumber" and lost == [True]:
            lost.append(False)
            return None if then == "gone" else {**result, "hash": "0x" + "77" * 32}
        return result

    with FakeRpcServer(chain, alter=alter) as node:
        try:
            batch = fetch(node.url, 1, 1, mode="filtered")
        except Retryable:
            batch = fetch(node.url, 1, 1, mode="filtered")

    assert 1 == len(facts(batch)["Transfer"])


def test_a_child_is_followed_whatever_else_of_its_announcement_is_bad():
    """One bad byte in a title would hide a campaign and its money."""
    kid, other = address(0xE9), address(0xEA)
    latin = made(kid, "caf\u00e9")
    latin = FakeLog(FACTORY, latin.topics, latin.data.replace(b"\xc3\xa9", b"\xe9\x00"))
    broken = made(other)
    broken = FakeLog(FACTORY, broken.topics, b"\xff" * 32)
    chain = FakeEvmChain()
    chain.mine(latin, noted(kid, 5))
    chain.mine(broken, noted(other, 7))

    with FakeRpcServer(chain, **EDGE) as node:
        batch = fetch(node.url, 0, 2)

    assert places(batch, "Noted") == [(1, 1), (2, 1)]
    assert {child.address for child in batch.children} >= {kid, other}
    assert [log.kept for log in batch.undecodable] == [True, False]
