"""A command that reverted in its block tells why."""

import pytest

from commands.errors import NodeAway
from commands.evm.node import Reverted
from helpers.counter import Counter
from helpers.mempool import MempoolChain
from helpers.schedules import request


class Replaying(MempoolChain):
    """A node that a test tells what a call gives back."""

    gives, asked = None, ()

    def replay(self, mined):
        self.asked = (*self.asked, mined)
        if isinstance(self.gives, NodeAway):
            raise self.gives
        return self.gives


@pytest.fixture
def counter(migrated_engine):
    found = Counter(migrated_engine)
    found.chain.__class__ = Replaying
    found.chain.reverting.add(request(0, found.source).data.hex())
    found.ask()
    return found


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        (Reverted(bytes.fromhex("b28f75f3"), "execution reverted"), "NoFeesHeld()"),
        (Reverted(b"", "not yours"), "not yours"),
        (NodeAway("no answer"), "it reverted, and no node could be asked why"),
        (None, "it reverted in its block, and does not when it is run again"),
    ],
)
def test_the_node_is_asked_why(counter, gives, reason):
    counter.chain.gives = gives
    counter.finish()

    assert ("reverted", reason) == (counter.state(), counter.command(0).reason)
    [asked] = counter.chain.asked
    assert 100_000 == asked.gas_limit
    assert asked.height == counter.command(0).height
    assert 1 == counter.told().count("reverted")


def test_gas_that_ran_out_is_told_without_asking(counter):
    counter.chain.used_gas[request(0, counter.source).data.hex()] = 100_000
    counter.finish()

    told = counter.command(0).reason
    assert "out of gas: it used all of its limit, 100000" == told
    assert () == counter.chain.asked


def test_what_the_index_knows_is_told_without_asking(counter):
    counter.turn()
    counter.block()
    with counter.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE control.sender_transaction SET revert_data = '\\xb28f75f3'"
        )
    counter.finish()

    assert "NoFeesHeld()" == counter.command(0).reason
    assert () == counter.chain.asked
