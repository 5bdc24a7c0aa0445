"""Payments, refunds of them that were asked for, and payouts, one row each."""

from db.declare import Count, First, Key, Latest, Projection, Stage, Sum
from db.payments.stripe import entries as e

REFUNDED_BEFORE = "charge_already_refunded"  # Stripe's code: nothing was left

refund_left_nothing = e.RefundRefused.only(e.RefundRefused.code == REFUNDED_BEFORE)
refund_refused = e.RefundRefused.only(e.RefundRefused.code != REFUNDED_BEFORE)


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


class StripeRefund(Projection):
    """One payment of which money went back or was to: how far its refund is.

    `asked` until Stripe shows the refund, `made`, `failed` when the bank sent it back,
    or `refused`, with `refused_because` in Stripe's words. Another refund may be asked
    for in the last two.
    """

    charge = Key()

    payment_domain = First(e.RefundAsked.domain, e.RefundMade.domain)
    purchase = First(e.RefundAsked.purchase, e.RefundMade.purchase)
    asked_because = Latest(e.RefundAsked.reason)
    asked_at = Latest(e.RefundAsked.block_time)
    refused_because = Latest(refund_refused.reason, {e.RefundMade: ""})
    failed_because = Latest(e.RefundFailed.reason, {e.RefundMade: ""})
    refund = Latest(e.RefundMade.refund)
    stage = Stage(
        (["", "made", "refused", "failed"], e.RefundAsked, "asked"),
        (["", "asked", "refused", "failed"], e.RefundMade, "made"),
        (["asked"], refund_left_nothing, "made"),
        (["asked"], refund_refused, "refused"),
        (["", "asked", "made"], e.RefundFailed, "failed"),
    )
    index = ("purchase", "stage")


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
