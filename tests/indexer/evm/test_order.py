"""Logs that come twice, or in another order: on every profile of a node."""

from __future__ import annotations

import random

import pytest

from helpers.families import STRANGER, facts, fetch, noted, transfer
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer, FakeTx
from indexer.errors import Retryable

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
        pytest.raises(Retryable, match="same place"),
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
