"""What is offered for gas."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from commands.evm.fees import Ceiling, Fees, asks_more, offer, suggested
from db.commands.evm.attempts import AttemptRow

LEGACY = Ceiling(lowest=10, highest=1000, bump_percent=12)
DYNAMIC = Ceiling(lowest=10, highest=1000, bump_percent=12, dynamic=True)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Node:
    price: int

    def gas_price(self):
        return self.price

    def priority_fee(self):
        return 3


def attempt(price, tip=None):
    return AttemptRow("s", 0, 1, "call", b"", b"", price, tip, 0, None, NOW, 1, 0)


def test_the_suggestion_is_the_node_s_and_at_least_the_lowest():
    assert Fees(50) == suggested(Node(50), LEGACY)
    assert Fees(10) == suggested(Node(1), LEGACY)


def test_with_dynamic_fees_twice_the_price_is_the_most():
    assert Fees(100, 3) == suggested(Node(50), DYNAMIC)


@pytest.mark.parametrize(
    ("wanted", "before", "expected"),
    [
        (Fees(50), [], Fees(50)),
        (Fees(5000), [], Fees(1000)),
        (Fees(101), [attempt(100)], Fees(113)),
        (Fees(500), [attempt(100)], Fees(500)),
        (Fees(57), [attempt(100)], Fees(113)),
        (Fees(56), [attempt(100)], Fees(112)),
        (Fees(50), [attempt(100)], None),
        (Fees(350), [attempt(100), attempt(300)], Fees(350)),
        (Fees(960), [attempt(950)], Fees(1000)),
        (Fees(1001), [attempt(1000)], None),
        (Fees(100, 3), [attempt(100, 3)], Fees(113, 4)),
        (Fees(100, 3), [attempt(100, 50)], Fees(113, 57)),
        (Fees(2000, 1500), [], Fees(1000, 1000)),
    ],
)
def test_a_replacement_bids_more_under_the_ceiling(wanted, before, expected):
    assert expected == offer(wanted, before, LEGACY)


def test_what_has_to_outbid_may_be_dearer_than_the_node_suggests():
    assert Fees(113) == offer(Fees(10), [attempt(100)], LEGACY, outbid=True)
    assert None is offer(Fees(10), [attempt(1000)], LEGACY, outbid=True)


@pytest.mark.parametrize(
    ("ceiling", "wanted", "before", "asks"),
    [
        (LEGACY, Fees(101), [attempt(100)], True),
        (LEGACY, Fees(100), [attempt(100)], False),
        (LEGACY, Fees(150), [attempt(200), attempt(100)], False),
        (DYNAMIC, Fees(202, 3), [attempt(100, 3)], True),
        (DYNAMIC, Fees(200, 3), [attempt(100, 3)], False),
        (DYNAMIC, Fees(200, 4), [attempt(100, 3)], True),
    ],
)
def test_the_node_asks_for_more_than_was_offered(ceiling, wanted, before, asks):
    assert asks == asks_more(wanted, before, ceiling)
