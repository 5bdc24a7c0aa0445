"""How many events and payments of Stripe are read in a second, over HTTP."""

import time
from datetime import UTC, datetime

import pytest
import stripe

from db.payments.stripe import entries as e
from db.registry import Registry
from devnet.stripe.run import FakeStripe
from helpers.stripe_shop import OURS, said
from indexer.stripe.asking import Api
from indexer.stripe.reader import StripeReader

PAYMENTS = 300


@pytest.mark.bench
def test_reading_payments(migrated_engine):
    with FakeStripe(seed=3) as fake:
        for number in range(PAYMENTS):
            said_ = {**OURS, "purchase": f"p-{number}"}
            session = fake.routes.answer("POST", "/v1/checkout/sessions", {
                "mode": "payment", "metadata": said_,
                "line_items": [{"quantity": "1", "price_data": {
                    "currency": "usd", "unit_amount": str(503 + 7 * number)}}],
                "payment_intent_data": {"metadata": said_},
            })  # fmt: skip
            fake.routes.buying.pay(session["id"])
            fake.book.clock.move(61)
        client = stripe.StripeClient(
            fake.key, base_addresses={"api": fake.url},
            http_client=stripe.RequestsClient(timeout=30),
        )  # fmt: skip
        reader = StripeReader(
            migrated_engine, Registry.load(), Api(client), ("crowdfunding",),
            livemode=False, clock=lambda: time_of(fake),
        )  # fmt: skip
        began = time.perf_counter()
        done = reader.round()
        seconds = time.perf_counter() - began
        asked = len(fake.service.asked)
    assert len(said(migrated_engine, e.PaymentCaptured)) == PAYMENTS
    print(
        f"\nstripe: {done.events / seconds:,.0f} events/s, "
        f"{PAYMENTS / seconds:,.0f} payments/s, "
        f"{asked / PAYMENTS:.1f} requests a payment"
    )


def time_of(fake):
    return datetime.fromtimestamp(fake.book.clock.now(), UTC)
