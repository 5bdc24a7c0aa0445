"""A business folds the entries about payments, and reacts to them."""

import pytest
from sqlalchemy import text

from db.declare import Entry, Key, Projection, Sum, Text, reaction
from db.journal.audit.entries import SubjectErased
from db.payments.stripe import entries as stripe
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
    paid = Sum(captured.amount)
    fee = Sum(captured.fee, fee_known.fee)
    net = Sum(captured.net, fee_known.net)


@reaction(to=stripe.PaymentCaptured)
def deliver(entry, tables):
    """What was paid for is handed out."""
    assert tables.row(ShopPurchase, purchase=entry.purchase).paid == entry.amount
    yield Delivered(purchase=entry.purchase)


REGISTRY = Registry.of(
    [*ENTRIES, Delivered, SubjectErased], [ShopPurchase], reactions=[deliver]
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
