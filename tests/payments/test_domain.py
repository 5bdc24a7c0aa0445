"""A business folds the entries about payments, and reacts to them."""

import pytest
from sqlalchemy import text

from commands.stripe.refunds import RefundWorker
from db.declare import Count, Entry, Key, Projection, Sum, Text, reaction
from db.journal.audit.entries import SubjectErased
from db.payments.stripe import entries as stripe
from db.payments.stripe.projections import StripeRefund
from db.registry import Registry
from db.schema import migrate
from helpers.journal_of import bodies
from helpers.stripe_shop import ENTRIES
from indexer.react import JournalSource, run_reactions

captured = stripe.PaymentCaptured.only(stripe.PaymentCaptured.domain == "crowdfunding")
fee_known = stripe.PaymentFeeKnown.only(stripe.PaymentFeeKnown.domain == "crowdfunding")


class Delivered(Entry):
    """What was paid for was handed out."""

    __domain__ = "shop"
    purchase = Text()


class ShopPurchase(Projection):
    """One purchase: what was paid for it."""

    __domain__ = "shop"
    purchase = Key()
    payments = Count(captured)
    paid = Sum(captured.amount)
    fee = Sum(captured.fee, fee_known.fee)
    net = Sum(captured.net, fee_known.net)


@reaction(to=stripe.PaymentCaptured)
def deliver(entry, tables):
    """What was paid for is handed out."""
    row = tables.row(ShopPurchase, purchase=entry.purchase)
    if row.payments == 1:
        assert row.paid == entry.amount
        yield Delivered(purchase=entry.purchase)


@reaction(to=stripe.PaymentCaptured)
def refund_what_is_paid_twice(entry, tables):
    """Of two payments of a purchase the second is refunded."""
    if tables.row(ShopPurchase, purchase=entry.purchase).payments > 1:
        yield stripe.RefundAsked(
            charge=entry.charge, domain=entry.domain, purchase=entry.purchase, amount=0,
            reason="it was paid before",
        )  # fmt: skip


REGISTRY = Registry.of(
    [*ENTRIES, Delivered, SubjectErased],
    [ShopPurchase, StripeRefund],
    reactions=[deliver, refund_what_is_paid_twice],
)


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def test_a_purchase_is_delivered_once_and_its_fee_comes_later(shop, engine):
    reader = shop.reader(engine, REGISTRY)
    charges = [shop.paid(), shop.paid(late_fee=True)]
    reader.round()
    run_reactions(JournalSource(engine, REGISTRY))
    shop.book.clock.move(3_700)
    shop.buying.settle_fee(charges[1]["id"])
    reader.round()
    run_reactions(JournalSource(engine, REGISTRY))

    purchases = {each["metadata"]["purchase"]: each for each in charges}
    delivered = [each["purchase"] for each in bodies(engine, Delivered)]
    assert sorted(delivered) == sorted(purchases)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM shop_purchases")).all()
    assert len(rows) == 2
    for row in rows:
        charge = purchases[row.purchase]
        moved = shop.book.objects[charge["balance_transaction"]]
        assert (row.paid, row.fee, row.net) == (
            charge["amount"], moved["fee"], moved["net"]
        )  # fmt: skip


def test_what_is_paid_twice_is_refunded_once_though_everything_runs_again(shop, engine):
    reader = shop.reader(engine, REGISTRY)
    metadata = {"domain": "crowdfunding", "purchase": "p-1"}
    first, second = (shop.paid(1_061, metadata=metadata) for _ in range(2))
    for _ in range(3):
        reader.round()
        run_reactions(JournalSource(engine, REGISTRY))
        RefundWorker(engine, REGISTRY, shop.client, shop.now).round()
        shop.book.clock.move(3_700)

    [refund] = shop.book.all("refund")
    captured_in = [x["charge"] for x in bodies(engine, stripe.PaymentCaptured)]
    assert sorted(captured_in) == sorted([first["id"], second["id"]])
    assert (refund["charge"], refund["amount"]) == (captured_in[1], 1_061)
    assert len(bodies(engine, Delivered)) == 1
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM stripe_refunds")).one()
    assert (row.stage, row.charge) == ("made", captured_in[1])
