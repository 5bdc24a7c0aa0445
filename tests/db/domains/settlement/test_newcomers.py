"""Which payments wait because their buyer is new, and what comes after."""

from types import SimpleNamespace as Row

import pytest

from db.domains.settlement import entries, reactions
from db.domains.settlement.newcomers import wait_of_new_buyer
from db.domains.settlement.projections import (
    BuyerPurchase,
    Collaborator,
    Content,
    Purchase,
    PurchaseCharge,
)
from db.domains.settlement.settings import SettlementSettings

CAPTURED = 1_796_042_552  # 2026-11-30 12:42:32 UTC
MINE, OTHER = "0x" + "07" * 16, "0x" + "08" * 16


class Shelf:
    """Tables with the rows of a test, at a moment."""

    def __init__(self, *rows, hours=24, time=CAPTURED):
        self.kept, self.time = rows, time
        self.set = SettlementSettings(new_buyer_wait_hours=hours)

    def settings(self, table):
        assert table is SettlementSettings
        return self.set

    def rows(self, projection, **where):
        found = [row for of, row in self.kept if of is projection]
        return [r for r in found if all(getattr(r, k) == v for k, v in where.items())]

    def row(self, projection, **keys):
        return next(iter(self.rows(projection, **keys)), None)


def purchase(name=MINE, stage="paid"):
    return Row(purchase=name, account="acc-4", content="c-2", price=500, total=546,
               stage=stage, buyer=bytes(range(32)), blocked_because=None)  # fmt: skip


def charge(name=MINE, **changes):
    found = {"purchase": name, "charge": f"ch_{name[-1]}", "amount": 546,
             "currency": "usd", "captured_in": 5, "captured_at": CAPTURED,
             "gone_for": None, "refunds_asked": 0, "warnings": 0, "alarms": 0,
             "hold": "", "waits": ""}  # fmt: skip
    return Row(**{**found, **changes})


def bought(stage="settled", *, of=OTHER, **changes):
    """Another purchase of the same account."""
    return ((BuyerPurchase, Row(account="acc-4", purchase=of)),
            (Purchase, purchase(of, stage)),
            (PurchaseCharge, charge(of, **changes)))  # fmt: skip


def test_a_new_buyer_waits_from_the_capture_on():
    wait = wait_of_new_buyer(purchase(), charge(), Shelf(time=CAPTURED + 3_600))

    assert wait.values == {
        "purchase": MINE, "charge": "ch_7", "until": CAPTURED + 86_400,
        "reason": "its buyer is new: ch_7 waits for 24 hours, until 2026-12-01 12:42 "
        "UTC. Release the purchase to settle it before",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "changes", "shelf", "waits"),
    [
        ((), {}, {"hours": 0}, False),
        ((), {}, {"time": CAPTURED + 86_399}, True),
        ((), {}, {"time": CAPTURED + 86_400}, False),
        ((), {"waits": "over"}, {}, False),
        ((), {"hold": "released"}, {}, False),
        ((), {"hold": "held"}, {}, True),
        (bought(), {}, {}, False),
        (bought("paid"), {}, {}, True),
        (bought("blocked"), {}, {}, True),
        (bought(alarms=1), {}, {}, True),
        (bought(alarms=1) + bought(of="0x" + "09" * 16), {}, {}, False),
        (bought(of=MINE), {}, {}, True),  # it does not stand for itself
    ],
)
def test_who_waits(rows, changes, shelf, waits):
    found = wait_of_new_buyer(purchase(), charge(**changes), Shelf(*rows, **shelf))

    assert (found is not None) is waits


def test_what_has_waited_and_lacks_a_wallet_says_so():
    rows = (
        (Purchase, purchase()), (PurchaseCharge, charge(waits="over")),
        (Content, Row(content="c-2", stock=0)),
        (Collaborator, Row(content="c-2", collaborator="eve", share=10_000,
                           stage="invited")),
    )  # fmt: skip
    event = Row(purchase=MINE, charge="ch_7")

    [said] = reactions.settle_what_has_waited.react(event, Shelf(*rows))

    assert isinstance(said, entries.PurchaseBlocked)
    assert "eve of c-2 has no wallet" in said.values["reason"]
    rows[0][1].stage = "blocked"
    rows[0][1].blocked_because = said.values["reason"]  # it was said already
    assert not list(reactions.settle_what_has_waited.react(event, Shelf(*rows)))
    rows[0][1].stage, rows[1][1].waits = "paid", "waiting"
    assert not list(reactions.settle_what_has_waited.react(event, Shelf(*rows)))
