"""Transactions that a node gives another hash than their bytes have.

Polygon Edge hashes a type-2 transaction with chain id 0 before the fork
`txHashWithType`, so the index names it by a hash that nobody computed here.
"""

import hashlib

import pytest

from commands.errors import NodeAway
from commands.evm.node import Answer
from helpers.counter import Counter


class Edge:
    """It hashes transactions its own way, and tells so only when `tells`."""

    def __init__(self, tells):
        self.tells, self.counter = tells, None

    def send(self, raw):
        chain = self.counter.chain
        answer = chain.take(raw)
        for transaction in chain.pool.values():
            if transaction["hash"] == hashlib.sha256(raw).hexdigest():
                transaction["hash"] = self.hash(raw).hex()
        if not self.tells:
            raise NodeAway("the answer was lost")
        return Answer(answer, self.hash(raw))

    def hash(self, raw):
        return hashlib.sha256(b"chain id 0" + raw).digest()

    def __getattr__(self, name):
        return getattr(self.counter.chain, name)


@pytest.fixture(params=[True, False], ids=["told", "not told"])
def counter(request, migrated_engine):
    node = Edge(request.param)
    counter = node.counter = Counter(migrated_engine, node=node, dynamic_fees=True)
    return counter


def test_a_call_is_known_by_its_nonce_and_by_what_it_does(counter):
    counter.ask(2)
    counter.finish()

    assert ["succeeded"] * 2 == counter.states()
    assert {0: 1, 1: 1} == counter.ran()
    node, ours = counter.command(0).transaction, counter.attempts()[0]
    assert bytes(ours.hash) != node
    assert ours.priority_fee is not None
    if counter.context.node.tells:
        assert node == bytes(ours.node_hash)


def test_without_an_id_what_it_does_is_enough(migrated_engine):
    node = Edge(tells=False)
    counter = node.counter = Counter(
        migrated_engine, node=node, dynamic_fees=True, tagged=False
    )
    counter.ask(3)
    counter.finish()

    assert ["succeeded"] * 3 == counter.states()
    assert 3 == sum(map(len, counter.chain.blocks))


def test_a_cancel_is_known_too(counter):
    counter.ask()
    counter.turn()
    counter.cancel(0)
    counter.turn()
    counter.finish()

    assert ["cancelled"] == counter.states()
    assert {} == counter.ran()
    assert [(0, 0, "cancelled")] == counter.slots()


def test_a_foreign_one_is_foreign_all_the_same(counter):
    counter.ask()
    counter.turn()
    counter.chain.outside()
    counter.finish()

    assert ["succeeded"] == counter.states()
    assert [(0, 0, "lost"), (1, 0, "succeeded")] == counter.slots()
