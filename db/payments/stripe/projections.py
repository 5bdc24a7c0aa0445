"""Payments and payouts, one row each."""

from db.declare import Count, First, Key, Latest, Projection, Sum
from db.payments.stripe import entries as e


class StripePayment(Projection):
    """One captured payment: what it brought, and what became of it.

    `balance` is what it has changed our balance by, in the settlement currency: with
    its fee, its refunds and its disputes.
    """

    charge = Key()

    payment_intent = First(e.PaymentCaptured.payment_intent)
    session = First(e.PaymentCaptured.session)
    payment_domain = First(e.PaymentCaptured.domain)
    purchase = First(e.PaymentCaptured.purchase)
    amount = First(e.PaymentCaptured.amount)
    currency = First(e.PaymentCaptured.currency)
    settled = Sum(e.PaymentCaptured.settled, e.PaymentFeeKnown.settled)
    fee = Sum(e.PaymentCaptured.fee, e.PaymentFeeKnown.fee)
    net = Sum(e.PaymentCaptured.net, e.PaymentFeeKnown.net)
    refunded = Sum(e.RefundMade.amount)
    refund_returned = Sum(e.RefundFailed.settled)
    refunds = Count(e.RefundMade)
    disputes = Count(e.DisputeOpened)
    dispute_status = Latest(e.DisputeClosed.status)
    warnings = Count(e.EarlyFraudWarning)
    balance = Sum(
        e.PaymentCaptured.net, e.PaymentFeeKnown.net, e.RefundMade.net,
        e.RefundFailed.net, e.DisputeFundsMoved.net,
    )  # fmt: skip
    charged_at = First(e.PaymentCaptured.charged_at)
    captured_in = First(e.PaymentCaptured.height)

    index = ("session", "purchase", "payment_intent")


class StripePayout(Projection):
    """One payout: money on its way to our bank, there, or come back."""

    payout = Key()

    amount = First(e.PayoutMade.amount)
    currency = First(e.PayoutMade.currency)
    arrives_at = First(e.PayoutMade.arrives_at)
    made = Count(e.PayoutMade)
    paid = Count(e.PayoutPaid)
    failed = Count(e.PayoutFailed)
    balance = Sum(e.PayoutMade.net, e.PayoutFailed.net)
