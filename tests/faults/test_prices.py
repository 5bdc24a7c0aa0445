"""What is offered for gas while a chain halts, nodes refuse, or their prices move."""

import pytest

from commands.errors import NodeOfOtherChain
from commands.evm.node import Reverted
from db.commands.states import Hold
from helpers.counter import Counter
from helpers.mempool import MempoolChain
from helpers.schedules import request


@pytest.fixture
def counter(migrated_engine):
    found = Counter(migrated_engine)
    found.chain.base = 100
    return found


def prices(counter):
    return [int(each.gas_price) for each in counter.attempts()]


def sends(counter):
    return [each.sent_count for each in counter.attempts()]


def test_no_price_rises_while_no_block_is_made(counter):
    counter.ask()
    counter.turn()
    for minute in range(45):
        counter.chain.base = 100 + 100 * minute  # whatever the node says
        counter.wait(minutes=1)
        counter.turn()

    assert 1 == len(prices(counter))
    assert [46] == sends(counter)


def test_no_price_rises_while_the_index_has_not_read_the_blocks(counter):
    counter.ask()
    counter.turn()
    counter.chain.pool.clear()
    counter.chain.base = 1000
    for _ in range(10):
        counter.chain.mine()
        counter.wait(minutes=1)
        counter.turn()

    assert 1 == len(prices(counter))


def test_no_price_rises_that_the_node_does_not_ask_for(counter):
    counter.ask()
    counter.turn()
    counter.chain.base = 50
    for _ in range(20):
        counter.chain.pool.clear()  # so that no block takes it
        counter.chain.mine()
        counter.index()
        counter.wait(minutes=1)
        counter.turn()

    assert 1 == len(prices(counter))


def test_a_price_follows_what_the_node_asks_for(counter):
    counter.ask()
    counter.turn()
    for base in (200, 400):
        counter.chain.base = base
        counter.chain.mine()
        counter.index()
        counter.wait(seconds=31)
        counter.turn()

    first, second, third = prices(counter)
    assert first < 110 < second < 210 < third < 410
    counter.chain.base = 400
    counter.finish()
    assert ["succeeded"] == counter.states()


def test_a_cancel_outbids_its_call_once_while_no_block_is_made(counter):
    counter.ask()
    counter.turn()
    counter.cancel(0)
    for _ in range(30):
        counter.wait(minutes=1)
        counter.turn()

    call, cancel = prices(counter)
    assert call < cancel <= call * 1.12 + 1


def test_a_hold_is_not_over_because_the_node_answered(migrated_engine):
    counter = Counter(migrated_engine, gas_price_max=20)
    counter.chain.base = counter.chain.least = 50
    counter.ask()
    counter.turn()
    assert Hold.CEILING is counter.row().hold

    counter.ask(first=1)
    for _ in range(12):
        counter.chain.mine()
        counter.index()
        counter.wait(seconds=11)
        counter.turn()
        assert Hold.CEILING is counter.row().hold
        assert 1 == len(counter.slots())

    counter.chain.base = counter.chain.least = 10
    counter.finish()
    assert ["succeeded"] * 2 == counter.states()
    assert Hold.NO is counter.row().hold


def test_bytes_that_are_refused_for_good_are_told_in_the_nodes_words(counter):
    counter.chain.unwanted[request(0, counter.source).data.hex()] = "oversized data"
    counter.ask(2)
    for _ in range(4):
        counter.wait(seconds=11)
        counter.turn()

    assert Hold.UNWANTED is counter.row().hold
    assert "the node does not take nonce 0: oversized data" == counter.health().reason
    assert "oversized data" in counter.blocker(0).reason
    assert "command cancel" in counter.health().remedy

    counter.cancel(0)
    counter.finish()

    assert ["cancelled", "succeeded"] == counter.states()
    assert Hold.NO is counter.row().hold


def test_one_refusal_is_no_reason_to_hold(counter):
    data = request(0, counter.source).data.hex()
    counter.chain.unwanted[data] = "oversized data"
    counter.ask()
    counter.turn()
    del counter.chain.unwanted[data]
    counter.finish()

    assert Hold.NO is counter.row().hold
    assert {0} == {each.refusals for each in counter.attempts()}


class Other(MempoolChain):
    """A chain whose URL leads to another one."""

    foreign = True

    def gas_price(self):
        if self.foreign:
            raise NodeOfOtherChain("node is a node of chain 999, not of 1")
        return super().gas_price()


def test_another_chain_behind_the_url_holds_the_signer(migrated_engine):
    counter = Counter(migrated_engine)
    counter.chain.__class__ = Other
    counter.ask(2)
    counter.turn()

    assert Hold.OTHER_CHAIN is counter.row().hold
    assert "chain 999" in counter.health().reason
    assert [] == counter.attempts()

    counter.chain.foreign = False
    counter.finish()
    assert ["succeeded"] * 2 == counter.states()


class Estimating(MempoolChain):
    """A node whose estimates a test sets."""

    gas = 50_000

    def simulate(self, sender, to, value, data):
        if isinstance(self.gas, Exception):
            raise self.gas
        return self.gas


@pytest.mark.parametrize(
    ("gas", "limit"),
    [(200_000, 240_000), (50_000, 100_000), (Reverted(b"", "not yet"), 100_000)],
)
def test_gas_is_estimated_again_before_a_call_is_signed(migrated_engine, gas, limit):
    counter = Counter(migrated_engine)
    counter.chain.__class__ = Estimating
    counter.ask()
    counter.chain.gas = gas
    counter.turn()

    [sent] = counter.chain.pool.values()
    assert limit == sent["gas"]
    assert limit == counter.command(0).gas_limit


class Keeping(MempoolChain):
    """A node as Polygon Edge up to 0.9: it answers any hash and keeps what it has."""

    def take(self, raw):
        kept = dict(self.pool)
        said = super().take(raw)
        self.pool.update(kept)
        return "ok" if said == "replacement tx underpriced" else said


def test_nothing_is_told_as_cancelled_before_the_index_shows_it(migrated_engine):
    counter = Counter(migrated_engine)
    counter.chain.__class__ = Keeping
    counter.ask()
    counter.turn()
    counter.cancel(0)
    counter.turn()

    call, cancel = counter.attempts()
    assert ("call", "cancel") == (call.purpose, cancel.purpose)
    for each in (call, cancel):
        assert each.answer == "ok"
    command = counter.command(0)
    assert "closing" == command.state
    assert "will show whether it was in time" in command.reason
    assert "cancelled" not in counter.blocker(0).reason

    counter.block(6)
    assert ("succeeded", {0: 1}) == (counter.state(), counter.ran())
    assert "mined before its cancel" in counter.command(0).reason


def test_a_cancel_that_the_index_shows_is_told_as_one(counter):
    counter.ask()
    counter.turn()
    counter.cancel(0)
    counter.turn()
    counter.block(6)

    assert ("cancelled", {}) == (counter.state(), counter.ran())
    assert "cancelled by request" == counter.command(0).reason


def test_what_was_sent_is_told_as_handed_over(counter):
    counter.ask()
    counter.turn()

    assert "handed to a node" in counter.blocker().reason
