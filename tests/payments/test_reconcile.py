"""The journal is compared with Stripe's balance, and every cent of drift is told."""

import pytest
from sqlalchemy import text

from db.payments import drift
from db.payments.currencies import exponent, shown
from db.payments.drift import NoReconciliation
from devnet.stripe.book import DAY
from indexer.stripe.reconcile import compare
from ops.cli.payments import reconcile


@pytest.fixture
def business(shop, reader):
    """Some weeks of payments, refunds, disputes and payouts, all read."""
    begun = shop.book.clock.now()
    for currency in ("usd", "usd", "eur", "jpy", "kwd"):
        charge = shop.paid(currency=currency)
        shop.refund(charge, charge["amount"] // 3)
        shop.book.clock.move(9 * 3600 + 13)
    returned = shop.refund(shop.paid(20_011), 7_013)
    shop.disputing.close(shop.disputing.open(shop.paid(5_009)["id"])["id"], won=True)
    shop.disputing.open(shop.paid(6_011)["id"])
    stranger = shop.buying.stranger_pays(9_001, "usd", {"domain": "elsewhere"})
    shop.refund(stranger, 1_009)
    shop.book.clock.move(4 * DAY)
    first = shop.paying_out.run()
    shop.paying_out.arrive(first["id"])
    shop.refunding.fail(returned["id"])
    shop.paid(3_307, late_fee=True)
    shop.book.clock.move(4 * DAY)
    shop.paying_out.by_hand(1_231)
    reader.round()
    shop.since, shop.until = begun - 5, shop.book.clock.now() + 5
    return shop


def compared(shop, reader):
    return compare(reader.engine, reader.looking(), since=shop.since, until=shop.until)


def change(engine, statement):
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount == 1


def test_all_is_equal_to_the_cent(business, reader):
    found = compared(business, reader)

    assert found.differences == []
    assert found.well
    assert found.payouts == 1
    ours = {kind: each for (kind, _), each in found.journal.items()}
    theirs = {kind: each for (kind, _), each in found.stripe.items()}
    assert ours.keys() == theirs.keys() - {"of others"}
    assert all(theirs[kind] == each for kind, each in ours.items())
    total = sum(each.net for each in theirs.values())
    assert total == sum(x["net"] for x in business.book.all("balance_transaction"))
    assert theirs["of others"].count == 2


def test_an_amount_that_differs_by_one_is_told(business, reader, migrated_engine):
    change(migrated_engine, "UPDATE facts.stripe_payment_captured SET net = net + 1,"
           " fee = fee - 1 WHERE position = (SELECT max(position) FROM"
           " facts.stripe_payment_captured WHERE net > 0)")  # fmt: skip
    [found] = compared(business, reader).differences

    assert (found.what, found.drift) == ("amounts differ", -1)
    assert found.object.startswith("ch_")


def test_what_has_no_entry_is_told_and_read(business, reader, migrated_engine):
    told = len(business.book.events)
    business.refund(business.paid(4_409), 409)
    for each in business.book.events[told:]:  # no event of it is ever listed
        each.visible_at = 2**40
    reader.round()
    business.until = business.book.clock.now()
    found = compared(business, reader)

    assert {each.what for each in found.differences} == {"no entry"}
    assert found.drift() == {"usd": 4_409 - 158 - 409}
    assert {kind for kind, _ in found.missing} == {"charge", "refund"}
    again = reconcile(reader, business.since, business.until, read=True)
    assert again.well


def test_an_entry_without_a_transaction_is_told(business, reader, migrated_engine):
    change(migrated_engine, "UPDATE facts.stripe_refund_made SET"
           " balance_transaction = 'txn_3madeup' WHERE refund = (SELECT min(refund)"
           " FROM facts.stripe_refund_made)")  # fmt: skip
    found = compared(business, reader)

    whats = sorted(each.what for each in found.differences)
    assert whats == ["no entry", "no such transaction"]
    assert sum(found.drift().values()) == 0


def test_what_nobody_can_explain_is_told(business, reader):
    source = {"id": "ch_3unknown"}
    business.book.move_money(
        kind="stripe_fee", category="fee", source=source, amount=-311, days=0
    )
    assert compared(business, reader).well
    business.book.move_money(
        kind="adjustment", category="other_adjustment", source=source, amount=-17,
        days=0,
    )  # fmt: skip
    [found] = compared(business, reader).differences
    assert (found.what, found.drift) == ("not explained: adjustment", -17)


def test_a_payout_that_is_not_its_lines_is_told(business, reader):
    [payout] = [x for x in business.book.all("payout") if x["automatic"]]
    payout["amount"] += 1
    differences = compared(business, reader).differences
    assert ("a payout is not its lines", 1) in [(d.what, d.drift) for d in differences]


def test_drift_is_kept_until_somebody_clears_it(business, reader, migrated_engine):
    row = reader.open()
    found = compared(business, reader)
    with migrated_engine.begin() as connection:
        good = drift.keep(
            connection, row.account, since=1, until=2, well=True,
            found=found.as_json(), now=business.now(),
        )  # fmt: skip
        bad = drift.keep(
            connection, row.account, since=1, until=2, well=False,
            found={"drift": {"usd": -5}}, now=business.now(),
        )  # fmt: skip
        assert drift.uncleared(connection, row.account) == 1
        assert [bad] == [each.id for each in drift.listed(connection)]
        assert [bad, good] == [each.id for each in drift.listed(connection, every=True)]
        cleared = drift.clear(
            connection, bad, by="cli:tester", reason="a gift", now=business.now()
        )
        assert (cleared.cleared_by, cleared.reason) == ("cli:tester", "a gift")
        assert drift.uncleared(connection, row.account) == 0
        for number in (bad, good, 999):
            with pytest.raises(NoReconciliation):
                drift.clear(connection, number, by="x", reason="y", now=business.now())


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (123_450, "usd", "1,234.50 USD"), (-7, "usd", "-0.07 USD"),
        (1_061, "jpy", "1,061 JPY"), (5_124, "kwd", "5.124 KWD"),
        (500, "ugx", "5.00 UGX"), (500, "isk", "5.00 ISK"), (0, "eur", "0.00 EUR"),
    ],
)  # fmt: skip
def test_amounts_have_the_decimals_of_their_currency(amount, currency, written):
    assert shown(amount, currency) == written
    assert exponent(currency) in (0, 2, 3)
