"""Logs that come twice, or in another order: on every profile of a node."""

from __future__ import annotations

import random

import pytest

from db.declare.evm.bare import declare_events
from helpers.families import (
    STRANGER,
    TOKEN,
    TRANSFER,
    TRANSFER_NFT,
    facts,
    fetch,
    noted,
    transfer,
)
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer, FakeTx, log_for
from indexer.errors import Retryable
from indexer.evm.filters import FollowedContract

PROFILES = {
    "edge 0.9": {**EDGE, "log_index_per_transaction": True},
    "edge 1.3": {**EDGE, "log_index_per_transaction": False},
    "other": {},
}


def chain_of(blocks=4):
    chain = FakeEvmChain()
    for n in range(1, blocks + 1):
        chain.mine(
            FakeTx([transfer(n), noted(STRANGER, n), transfer(n + 10)]),
            FakeTx([transfer(n + 20), transfer(n + 30)]),
        )
    return chain


def altering(change):
    def alter(method, params, result):
        return change(result) if method == "eth_getLogs" else result

    return alter


@pytest.mark.parametrize("mode", ["all", "filtered"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("at", [0, 1, 3, -1])
def test_a_log_that_comes_twice_is_refused(profile, mode, at):
    """The bloom cannot see it, and the money would be counted twice."""
    double = altering(lambda logs: [*logs, logs[at]] if logs else logs)
    with (
        FakeRpcServer(chain_of(), alter=double, **PROFILES[profile]) as node,
        pytest.raises(Retryable, match="same place|there twice"),
    ):
        fetch(node.url, 0, 4, mode=mode)


@pytest.mark.parametrize("mode", ["all", "filtered"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", [3, 8, 21])
def test_the_order_of_an_answer_does_not_matter(profile, mode, seed):
    def shuffled(logs):
        return random.Random(seed).sample(logs, len(logs))

    chain = chain_of()
    with FakeRpcServer(chain, **PROFILES[profile]) as node:
        expected = facts(fetch(node.url, 0, 4, mode=mode))
    with FakeRpcServer(chain, alter=altering(shuffled), **PROFILES[profile]) as node:
        assert facts(fetch(node.url, 0, 4, mode=mode)) == expected


def test_a_log_without_an_index_is_refused():
    without = altering(
        lambda logs: [{k: v for k, v in log.items() if k != "logIndex"} for log in logs]
    )
    with (
        FakeRpcServer(chain_of(), alter=without) as node,
        pytest.raises(Retryable, match="not a hex quantity"),
    ):
        fetch(node.url, 0, 4)


def test_two_transfers_of_one_address_go_to_two_tables():
    """ERC-20 and ERC-721 write `Transfer` under one topic, with three and four."""
    both = [TRANSFER, TRANSFER_NFT]
    events = declare_events("Both", both)
    contract = events[0].spec.source
    chain = FakeEvmChain()
    people = {"from": b"\x05" * 20, "to": b"\x06" * 20}
    chain.mine(
        log_for(TRANSFER, TOKEN, **people, value=77),
        log_for(TRANSFER_NFT, TOKEN, **people, tokenId=9),
        log_for(TRANSFER, TOKEN, **people, value=78),
    )
    followed = [FollowedContract(contract, {TOKEN: 0}, events)]

    with FakeRpcServer(chain, **EDGE) as node:
        ids = [event.spec.id for event in events]
        batch = fetch(node.url, 0, 1, contracts=followed, ids=ids)

    found = {f.event.spec.table: f.positions.tolist() for f in batch.facts}
    assert found == {
        "both_transfer_ddf252ad_2": [1 << 32, (1 << 32) + 2],
        "both_transfer_ddf252ad_3": [(1 << 32) + 1],
    }
    assert batch.undecodable == []
