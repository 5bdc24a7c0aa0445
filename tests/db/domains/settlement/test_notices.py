"""Who is told what of purchases and of the treasury."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Row

import pytest

from db.declare import ToAccount, ToChannel
from db.declare.fields import Encoding
from db.domains.settlement import notices
from db.domains.settlement.projections import (
    AccountDay,
    Collaborator,
    Content,
    Purchase,
    SettledDay,
    TreasuryAccount,
)
from db.domains.settlement.settings import SettlementSettings
from db.domains.settlement.treasury import DAY_SECONDS

MONDAY = datetime(2026, 11, 30, 17, tzinfo=UTC)
TODAY = int(MONDAY.timestamp()) // DAY_SECONDS * DAY_SECONDS
TREASURY, BUYER, WALLET = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))


class Shelf:
    """Tables with the rows of a test."""

    def __init__(self, settings=None, **rows):
        self.kept = rows
        self.set = settings or SettlementSettings()

    def settings(self, table):
        assert table is SettlementSettings
        return self.set

    def rows(self, projection, **where):
        found = self.kept.get(projection.__name__, [])
        return [r for r in found if all(getattr(r, k) == v for k, v in where.items())]

    def row(self, projection, **keys):
        return next(iter(self.rows(projection, **keys)), None)


def told(notice):
    return notice.name, notice.to


SHOP = {
    Purchase.__name__: [Row(purchase="0x7", content="c-7", account="acc-9",
                            buyer=BUYER)],
    Content.__name__: [Row(content="c-7", title="Été")],
    Collaborator.__name__: [
        Row(content="c-7", collaborator="ada", share=6_250, stage="accepted",
            wallet=WALLET),
        Row(content="c-7", collaborator="cy", share=0, stage="accepted",
            wallet=TREASURY),
        Row(content="c-8", collaborator="eve", share=10_000, stage="accepted",
            wallet=TREASURY),
    ],
}  # fmt: skip


def test_buyer_and_creators_are_told_of_a_sale():
    found = list(notices.tell_of_a_sale.react(Row(purchase="0x7"), Shelf(**SHOP)))

    assert list(map(told, found)) == [
        ("bought", ToAccount("acc-9")), ("sold", ToAccount("ada"))
    ]  # fmt: skip
    assert found[0].texts["fr"][0] == "Été est à vous"
    assert "your share of 62.5 % was paid to" in found[1].texts["en"][1]


def test_nobody_is_told_of_a_purchase_that_was_not_made_here():
    entry = Row(purchase="0x8", domain="settlement", amount=340, currency="usd")

    assert not list(notices.tell_of_a_sale.react(entry, Shelf(**SHOP)))
    assert not list(notices.tell_of_a_refund.react(entry, Shelf(**SHOP)))


def test_a_refund_is_told_in_its_currency():
    entry = Row(purchase="0x7", domain="settlement", amount=1_061, currency="usd")

    [found] = notices.tell_of_a_refund.react(entry, Shelf(**SHOP))

    assert found.texts["en"][0] == "A refund of 10.61 USD"


def test_disputes_of_other_businesses_are_theirs():
    entry = Row(purchase="1", charge="ch_1", reason="fraudulent", domain="settlement")

    [found] = notices.tell_of_a_dispute.react(entry, Shelf())
    assert found.to == ToChannel("operations")
    entry.domain = "shop"
    assert not list(notices.tell_of_a_dispute.react(entry, Shelf()))


def treasury(balance, outflow):
    return Shelf(
        **{
            SettledDay.__name__: [Row(day=TODAY, purchases=3, fronted=outflow, earned=0,
                                      dust=0)],
            TreasuryAccount.__name__: [Row(treasury=TREASURY)],
            AccountDay.__name__: [
                Row(account=TREASURY, day=TODAY - DAY_SECONDS, balance=9 * 10**12),
                Row(account=TREASURY, day=TODAY, balance=balance),
            ],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("balance", "outflow", "health"),
    [
        (2_000 * 10**6, 7 * 10**6, None),
        (2_500 * 10**6, 2_500 * 10**6, None),
        (1_999_999_999, 0, "critical"),
        (2_500 * 10**6, 2_500 * 10**6 + 1, "warning"),
    ],
)
def test_the_team_is_told_when_the_treasury_runs_low(balance, outflow, health):
    ask = notices.warn_of_the_treasury.ask
    found = list(ask(MONDAY, treasury(balance, outflow)))

    assert [each.texts["en"][0] for each in found] == (
        [] if health is None else [f"The treasury is {health}"]
    )


def test_the_team_is_told_of_all_accounts_at_once():
    shelf = treasury(1_500 * 10**6, 0)
    more = Row(account=BUYER, day=TODAY, balance=499_999_999)
    shelf.kept[AccountDay.__name__].append(more)
    shelf.kept[TreasuryAccount.__name__].append(Row(treasury=BUYER))

    [found] = notices.warn_of_the_treasury.ask(MONDAY, shelf)
    more.balance += 1

    accounts = [Encoding.BASE58.text(each) for each in (TREASURY, BUYER)]
    assert found.texts["en"][1] == (
        f"It holds 1,999.999999 USDC, for ∞ days: fill {', '.join(accounts)}."
    )
    assert not list(notices.warn_of_the_treasury.ask(MONDAY, shelf))


def test_the_team_is_told_once_a_week_of_accounts_that_are_not_followed():
    """Else a treasury whose movements nobody indexes runs dry in silence."""
    shelf = treasury(3_000 * 10**6, 0)
    shelf.kept[TreasuryAccount.__name__].append(Row(treasury=BUYER))
    ask = notices.warn_of_the_treasury.ask

    [found] = ask(MONDAY, shelf)
    [again] = ask(MONDAY + timedelta(days=6), shelf)
    [later] = ask(MONDAY + timedelta(days=7), shelf)

    assert Encoding.BASE58.text(BUYER) in found.texts["en"][1]
    assert Encoding.BASE58.text(TREASURY) not in found.texts["fr"][1]
    assert found.once == again.once != later.once


def test_it_is_told_once_a_day_for_each_level():
    def once(hour, balance=10**6, day=30):
        at = MONDAY.replace(hour=hour, day=day)
        [found] = notices.warn_of_the_treasury.ask(at, treasury(balance, 0))
        return found.once

    assert once(8) == once(17) != once(17, day=29)
