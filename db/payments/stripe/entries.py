"""Entries about payments, said once each when Stripe's API shows that they are so.

Amounts are integers in the minor unit of their currency (ISO 4217, in lower case, as
Stripe writes it). `amount` is in the buyer's currency. `settled`, `fee` and `net` are
of the balance transaction, in `settlement_currency`, as they change our balance: what
leaves it is negative, and `settled - fee = net`. `domain` and `purchase` are of the
payment's metadata. Moments are Stripe's, in seconds since 1970.
"""

from db.declare import Bool, Entry, Int, Text, Time, Uint


class PaymentCaptured(Entry):
    """A buyer's money was captured.

    While Stripe does not tell the fee, `balance_transaction`, `settlement_currency` and
    `exchange_rate` are empty and `settled`, `fee` and `net` are 0: `PaymentFeeKnown`
    has them later. `session` is empty for a payment without a checkout session.
    """

    charge = Text()
    payment_intent = Text()
    session = Text()
    domain = Text()
    purchase = Text()
    method = Text()
    amount = Uint(63)
    currency = Text()
    balance_transaction = Text()
    settlement_currency = Text()
    exchange_rate = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)
    charged_at = Uint(63, meaning=Time())


class PaymentFeeKnown(Entry):
    """The fee of a payment came to be known after it was captured."""

    charge = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()
    balance_transaction = Text()
    settlement_currency = Text()
    exchange_rate = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)


class PaymentFailed(Entry):
    """A session was completed, and the bank refused the payment days later."""

    session = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()


class PaymentExpired(Entry):
    """A session ended without having been paid."""

    session = Text()
    domain = Text()
    purchase = Text()
    expires_at = Uint(63, meaning=Time())


class RefundMade(Entry):
    """Money left the balance for a refund; `amount` is of this refund alone."""

    refund = Text()
    charge = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()
    amount = Uint(63)
    currency = Text()
    reason = Text()
    balance_transaction = Text()
    settlement_currency = Text()
    exchange_rate = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)
    refunded_at = Uint(63, meaning=Time())


class RefundFailed(Entry):
    """A refund came to nothing: `status` is failed or canceled.

    What had left the balance came back; when nothing had, `balance_transaction` and
    `settlement_currency` are empty and `settled`, `fee` and `net` are 0.
    """

    refund = Text()
    charge = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()
    amount = Uint(63)
    currency = Text()
    status = Text()
    reason = Text()
    balance_transaction = Text()
    settlement_currency = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)


class RefundAsked(Entry):
    """A domain wants a payment refunded: the payments process asks Stripe, once.

    `amount` is in the payment's currency; 0 is all that is left of it. `reason` is for
    people here, and is not told to Stripe.
    """

    charge = Text()
    domain = Text()
    purchase = Text()
    amount = Uint(63)
    reason = Text()


class RefundRefused(Entry):
    """A refund that was asked for is not made, and is not tried again by itself.

    `code` is Stripe's, or `dispute_lost`; `reason` is in Stripe's words where they are
    its.
    """

    charge = Text()
    domain = Text()
    purchase = Text()
    code = Text()
    reason = Text()


class DisputeOpened(Entry):
    """A buyer's bank disputes a payment; with `inquiry` it only asks about it.

    An inquiry that becomes a dispute is said again, without `inquiry`.
    """

    dispute = Text()
    charge = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()
    amount = Uint(63)
    currency = Text()
    reason = Text()
    inquiry = Bool()
    opened_at = Uint(63, meaning=Time())


class DisputeFundsMoved(Entry):
    """Money of a dispute left the balance, or came back."""

    dispute = Text()
    charge = Text()
    domain = Text()
    purchase = Text()
    balance_transaction = Text()
    settlement_currency = Text()
    exchange_rate = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)


class DisputeClosed(Entry):
    """A dispute or an inquiry ended: `status` is won, lost or warning_closed."""

    dispute = Text()
    charge = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()
    status = Text()


class EarlyFraudWarning(Entry):
    """The card's network holds a payment for fraud; a dispute is likely."""

    warning = Text()
    charge = Text()
    payment_intent = Text()
    domain = Text()
    purchase = Text()
    fraud_type = Text()
    warned_at = Uint(63, meaning=Time())


class PayoutMade(Entry):
    """Money left the balance for our bank; a negative amount comes from there."""

    payout = Text()
    amount = Int(64)
    currency = Text()
    automatic = Bool()
    arrives_at = Uint(63, meaning=Time())
    balance_transaction = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)


class PayoutPaid(Entry):
    """The bank has a payout, as far as Stripe knows; it may still fail."""

    payout = Text()
    amount = Int(64)
    currency = Text()


class PayoutFailed(Entry):
    """A payout came back to the balance: `status` is failed or canceled."""

    payout = Text()
    amount = Int(64)
    currency = Text()
    status = Text()
    reason = Text()
    balance_transaction = Text()
    settled = Int(64)
    fee = Int(64)
    net = Int(64)
