"""From objects of Stripe to entries: each under the name that it is said once by."""

from collections.abc import Iterator

from db.payments.events import Saying
from db.payments.stripe import entries as e
from indexer.stripe.values import (
    NOTHING,
    Moved,
    Object,
    Owner,
    flag,
    id_of,
    inner,
    listed,
    moved_by,
    number,
    text,
)

ENDED = ("failed", "canceled")


def captured_key(charge: str) -> str:
    """The name of a capture."""
    return f"captured:{charge}"


def fee_key(charge: str) -> str:
    """The name of what is said of a fee, with the capture or after it."""
    return f"fee:{charge}"


def is_captured(charge: Object) -> bool:
    """Whether a charge brought money, and not only holds it."""
    return text(charge, "status") == "succeeded" and flag(charge, "captured")


def say_captured(charge: Object, session: str, owner: Owner) -> Saying:
    """The capture, with the fee if it is known."""
    moved = moved_by(inner(charge, "balance_transaction"))
    id_ = text(charge, "id")
    details = inner(charge, "payment_method_details") or {}
    entry = e.PaymentCaptured(
        charge=id_,
        payment_intent=id_of(charge, "payment_intent"),
        session=session,
        **owner.values,
        method=text(details, "type"),
        amount=number(charge, "amount_captured"),
        currency=text(charge, "currency"),
        **moved.converted,
        charged_at=number(charge, "created"),
    )
    return Saying(captured_key(id_), entry, (fee_key(id_),) if moved.id else ())


def say_fee(charge: Object, owner: Owner) -> Iterator[Saying]:
    """The fee, if it is known; it is said unless the capture had it."""
    moved = moved_by(inner(charge, "balance_transaction"))
    if not moved.id:
        return
    id_ = text(charge, "id")
    entry = e.PaymentFeeKnown(
        charge=id_,
        payment_intent=id_of(charge, "payment_intent"),
        **owner.values,
        **moved.converted,
    )
    yield Saying(fee_key(id_), entry)


def say_failed(session: Object, owner: Owner) -> Saying:
    """The end of a completed session that the bank did not pay."""
    id_ = text(session, "id")
    entry = e.PaymentFailed(
        session=id_, payment_intent=id_of(session, "payment_intent"), **owner.values
    )
    return Saying(f"failed:{id_}", entry)


def say_expired(session: Object, owner: Owner) -> Saying:
    """The end of a session that nobody paid."""
    id_ = text(session, "id")
    entry = e.PaymentExpired(
        session=id_, **owner.values, expires_at=number(session, "expires_at")
    )
    return Saying(f"expired:{id_}", entry)


def say_refund(refund: Object, owner: Owner) -> Iterator[Saying]:
    """Money that left for a refund, and its return."""
    id_, status = text(refund, "id"), text(refund, "status")
    about = {
        "refund": id_, "charge": id_of(refund, "charge"),
        "payment_intent": id_of(refund, "payment_intent"), **owner.values,
        "amount": number(refund, "amount"), "currency": text(refund, "currency"),
    }  # fmt: skip
    left = moved_by(inner(refund, "balance_transaction"))
    if left.id:
        made = e.RefundMade(
            **about, **left.converted, reason=text(refund, "reason"),
            refunded_at=number(refund, "created"),
        )  # fmt: skip
        yield Saying(f"refund:{id_}", made)
    back = moved_by(inner(refund, "failure_balance_transaction"))
    if status in ENDED and (back.id or not left.id):
        failed = e.RefundFailed(
            **about, **back.values, status=status,
            reason=text(refund, "failure_reason"),
        )  # fmt: skip
        yield Saying(f"refund_failed:{id_}", failed)


def refund_waits(refund: Object) -> str:
    """The reason to look at a refund again; empty when all of it is known."""
    status = text(refund, "status")
    left = id_of(refund, "balance_transaction")
    if status == "succeeded" and not left:
        return "its balance transaction is not known yet"
    if status in ENDED and left and not id_of(refund, "failure_balance_transaction"):
        return "the return of its money is not known yet"
    return ""


def say_dispute(dispute: Object, owner: Owner) -> Iterator[Saying]:
    """A dispute or inquiry: its beginning, its money, its end."""
    id_, status = text(dispute, "id"), text(dispute, "status")
    charge = id_of(dispute, "charge")
    intent = id_of(dispute, "payment_intent")
    inquiry = status.startswith("warning")
    opened = e.DisputeOpened(
        dispute=id_, charge=charge, payment_intent=intent, **owner.values,
        amount=number(dispute, "amount"), currency=text(dispute, "currency"),
        reason=text(dispute, "reason"), inquiry=inquiry,
        opened_at=number(dispute, "created"),
    )  # fmt: skip
    yield Saying(f"{'inquiry' if inquiry else 'dispute'}:{id_}", opened)
    for each in listed(dispute, "balance_transactions"):
        moved = moved_by(each)
        funds = e.DisputeFundsMoved(
            dispute=id_, charge=charge, **owner.values, **moved.converted
        )
        yield Saying(f"dispute_funds:{moved.id}", funds)
    if status in ("won", "lost", "warning_closed", "prevented"):
        closed = e.DisputeClosed(
            dispute=id_, charge=charge, payment_intent=intent, **owner.values,
            status=status,
        )  # fmt: skip
        yield Saying(f"dispute_closed:{id_}", closed)


def say_warning(warning: Object, owner: Owner) -> Saying:
    """A warning of fraud."""
    id_ = text(warning, "id")
    entry = e.EarlyFraudWarning(
        warning=id_, charge=id_of(warning, "charge"),
        payment_intent=id_of(warning, "payment_intent"), **owner.values,
        fraud_type=text(warning, "fraud_type"), warned_at=number(warning, "created"),
    )  # fmt: skip
    return Saying(f"warning:{id_}", entry)


def say_payout(payout: Object) -> Iterator[Saying]:
    """A payout: leaving the balance, at the bank, or back."""
    id_, status = text(payout, "id"), text(payout, "status")
    about: dict[str, str | int] = {
        "payout": id_, "amount": number(payout, "amount"),
        "currency": text(payout, "currency"),
    }  # fmt: skip
    left = moved_by(inner(payout, "balance_transaction"))
    if left.id:
        made = e.PayoutMade(
            **about, automatic=flag(payout, "automatic"),
            arrives_at=number(payout, "arrival_date"), **left.money,
        )  # fmt: skip
        yield Saying(f"payout:{id_}", made)
    if status == "paid":
        yield Saying(f"payout_paid:{id_}", e.PayoutPaid(**about))
    back = moved_by(inner(payout, "failure_balance_transaction"))
    if status in ENDED and (back.id or not left.id):
        yield _payout_failed(about, payout, status, back)


def payout_waits(payout: Object) -> str:
    """The reason to look at a payout again; empty when all of it is known."""
    ended = text(payout, "status") in ENDED
    left = id_of(payout, "balance_transaction")
    if not left and not ended:
        return "its balance transaction is not known yet"
    if ended and left and not id_of(payout, "failure_balance_transaction"):
        return "the return of its money is not known yet"
    return ""


def _payout_failed(
    about: dict[str, str | int], payout: Object, status: str, back: Moved = NOTHING
) -> Saying:
    entry = e.PayoutFailed(
        **about, status=status, reason=text(payout, "failure_code"), **back.money
    )
    return Saying(f"payout_failed:{about['payout']}", entry)
