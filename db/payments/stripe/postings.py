"""Postings of payments: the balance at Stripe, our bank, sales, refunds, fees.

The account `Stripe balance` is debited and credited by the net of every balance
transaction, so its balance is Stripe's. Currencies are those of the balance. A sale is
booked when its card is charged; a fee that Stripe tells later is booked then.
"""

from typing import Any

from db.declare import FieldRef
from db.declare.books import AccountType, LedgerAccount, Posting
from db.payments.stripe import entries as e

STRIPE_BALANCE = LedgerAccount("1000", "Stripe balance", AccountType.ASSET)
BANK = LedgerAccount("1010", "Bank", AccountType.ASSET)
CARD_SALES = LedgerAccount("4000", "Card sales", AccountType.INCOME)
REFUNDS = LedgerAccount("4900", "Refunds of card sales", AccountType.INCOME)
CARD_FEES = LedgerAccount("5000", "Card fees", AccountType.EXPENSE)
DISPUTES = LedgerAccount("5010", "Disputes", AccountType.EXPENSE)


def _posted(
    text: str,
    other: LedgerAccount,
    entry: Any,
    *,
    reference: FieldRef,
    currency: FieldRef | None = None,
    effective: FieldRef | None = None,
    business: FieldRef | None = None,
) -> tuple[Posting, Posting]:
    """Return what a balance transaction posts: its amount, and its fee."""
    of_both: dict[str, Any] = {
        "currency": entry.settlement_currency if currency is None else currency,
        "effective": effective,
        "reference": reference,
        "business": business,
    }
    return (
        Posting(
            text, debit=STRIPE_BALANCE, credit=other, amount=entry.settled, **of_both
        ),
        Posting(
            f"fee of {text}", debit=CARD_FEES, credit=STRIPE_BALANCE,
            amount=entry.fee, **of_both,
        ),
    )  # fmt: skip


captured, captured_fee = _posted(
    "card payment", CARD_SALES, e.PaymentCaptured,
    effective=e.PaymentCaptured.charged_at, reference=e.PaymentCaptured.charge,
    business=e.PaymentCaptured.domain,
)  # fmt: skip
late, late_fee = _posted(
    "card payment, told later", CARD_SALES, e.PaymentFeeKnown,
    reference=e.PaymentFeeKnown.charge, business=e.PaymentFeeKnown.domain,
)  # fmt: skip
refunded, refunded_fee = _posted(
    "refund", REFUNDS, e.RefundMade, effective=e.RefundMade.refunded_at,
    reference=e.RefundMade.charge, business=e.RefundMade.domain,
)  # fmt: skip
returned, returned_fee = _posted(
    "refund that failed", REFUNDS, e.RefundFailed,
    reference=e.RefundFailed.charge, business=e.RefundFailed.domain,
)  # fmt: skip
disputed, disputed_fee = _posted(
    "dispute", DISPUTES, e.DisputeFundsMoved,
    reference=e.DisputeFundsMoved.charge, business=e.DisputeFundsMoved.domain,
)  # fmt: skip
paid_out, paid_out_fee = _posted(
    "payout", BANK, e.PayoutMade, currency=e.PayoutMade.currency,
    reference=e.PayoutMade.payout,
)  # fmt: skip
payout_failed, payout_failed_fee = _posted(
    "payout that failed", BANK, e.PayoutFailed, currency=e.PayoutFailed.currency,
    reference=e.PayoutFailed.payout,
)  # fmt: skip
