"""Refunds, disputes and payouts: money that leaves the balance, and may come back."""

from __future__ import annotations

from typing import Any

from devnet.stripe import objects
from devnet.stripe.book import DAY, Book
from devnet.stripe.errors import ApiError, unexpected_state
from devnet.stripe.objects import Object

_AT_BANK = ("needs_response", "under_review", "lost", "prevented")


class Refunding:
    """Refunds of charges, at once or by and by."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.next_status = "succeeded"  # of the next refund that is asked for
        self.funded = True  # whether money moves while it is pending

    def create(
        self, charge: Object, amount: int | None, reason: str | None,
        metadata: dict[str, str],
    ) -> Object:  # fmt: skip
        """Refund a charge, or a part of it; raises ApiError for more than is left."""
        self._refuse_disputed(charge)
        left = charge["amount_captured"] - charge["amount_refunded"]
        wanted = left if amount is None else amount
        if not charge["captured"] or wanted <= 0 or wanted > left:
            raise ApiError(
                400,
                f"Refund amount ({wanted}) is greater than unrefunded amount on charge "
                f"({left})",
                code="charge_already_refunded" if left == 0 else "amount_too_large",
                param="amount",
            )
        refund = objects.refund(
            self.book.new_id("refund"), created=self.book.clock.now(), amount=wanted,
            currency=charge["currency"], charge=charge, reason=reason,
            metadata=metadata, status=self.next_status,
        )  # fmt: skip
        if refund["status"] == "pending":
            refund["pending_reason"] = (
                "processing" if self.funded else "insufficient_funds"
            )
        self.book.add(refund)
        if refund["status"] == "succeeded" or self.funded:
            self._take(refund, charge)
        charge["amount_refunded"] += wanted
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
        self.book.emit("refund.created", refund)
        self.book.emit("charge.refunded", charge)
        self.next_status, self.funded = "succeeded", True
        return refund

    def succeed(self, id_: str) -> Object:
        """End a refund that is pending well."""
        refund = self._in(id_, "pending")
        refund.update(status="succeeded", pending_reason=None)
        if refund["balance_transaction"] is None:
            self._take(refund, self.book.get(refund["charge"], "charge"))
        return self._told(refund)

    def fail(self, id_: str) -> Object:
        """Let the bank send a refund back, pending or long made."""
        refund = self._in(id_, "pending", "succeeded")
        refund.update(
            status="failed", failure_reason="expired_or_canceled_card",
            pending_reason=None,
        )  # fmt: skip
        self._give_back(refund)
        self.book.emit("refund.failed", refund)
        return self._told(refund)

    def cancel(self, id_: str) -> Object:
        """Call a refund back that is pending."""
        refund = self._in(id_, "pending")
        refund.update(status="canceled", pending_reason=None)
        self._give_back(refund)
        return self._told(refund)

    def _refuse_disputed(self, charge: Object) -> None:
        """Refuse what the bank has; inquiries and won disputes can be refunded."""
        for dispute in self.book.all("dispute"):
            if dispute["charge"] == charge["id"] and dispute["status"] in _AT_BANK:
                raise ApiError(
                    400,
                    f"Charge {charge['id']} has been charged back; cannot issue a "
                    "refund.",
                    code="charge_disputed",
                )

    def _in(self, id_: str, *states: str) -> Object:
        refund = self.book.get(id_, "refund")
        if refund["status"] not in states:
            raise unexpected_state(
                f"the refund is {refund['status']}", "refund_unexpected_state"
            )
        return refund

    def _told(self, refund: Object) -> Object:
        self.book.emit("refund.updated", refund)
        self.book.emit("charge.refund.updated", refund)
        return refund

    def _take(self, refund: Object, charge: Object) -> None:
        settled, rate = self.book.prices.settle(refund["amount"], refund["currency"])
        card = charge["payment_method_details"]["type"] == "card"
        moved = self.book.move_money(
            kind="refund" if card else "payment_refund", category="refund",
            source=refund, amount=-settled, days=0,
            rate=None if rate is None else float(rate),
        )  # fmt: skip
        refund["balance_transaction"] = moved["id"]

    def _give_back(self, refund: Object) -> None:
        charge = self.book.get(refund["charge"], "charge")
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        if refund["balance_transaction"] is None:
            return
        taken = self.book.get(refund["balance_transaction"], "balance_transaction")
        moved = self.book.move_money(
            kind="refund_failure", category="refund_failure", source=refund,
            amount=-taken["amount"], days=0, rate=taken["exchange_rate"],
        )  # fmt: skip
        refund["failure_balance_transaction"] = moved["id"]


class Disputing:
    """Disputes of charges, and inquiries before them."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def open(
        self, charge: str, amount: int | None = None, *, reason: str = "fraudulent",
        inquiry: bool = False,
    ) -> Object:  # fmt: skip
        """Dispute a charge: its money and a fee are taken, but for an inquiry."""
        found = self.book.get(charge, "charge")
        now = self.book.clock.now()
        dispute = objects.dispute(
            self.book.new_id("dispute"), created=now, livemode=self.book.livemode,
            amount=found["amount_captured"] if amount is None else amount,
            charge=found, reason=reason, due_by=now + 9 * DAY,
            status="warning_needs_response" if inquiry else "needs_response",
        )  # fmt: skip
        self.book.add(dispute)
        found["disputed"] = not inquiry
        if not inquiry:
            self._move(dispute, -1, fee=self.book.prices.dispute)
        self.book.emit("charge.dispute.created", dispute)
        if not inquiry:
            self.book.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def close(self, id_: str, *, won: bool) -> Object:
        """End a dispute; the money of one that was won comes back, the fee does not."""
        dispute = self.book.get(id_, "dispute")
        if dispute["status"] in ("won", "lost", "warning_closed"):
            raise unexpected_state("the dispute is closed", "dispute_closed")
        if dispute["status"].startswith("warning"):
            dispute["status"] = "warning_closed"
        else:
            dispute["status"] = "won" if won else "lost"
            if won:
                self._move(dispute, 1, fee=0)
                self.book.emit("charge.dispute.funds_reinstated", dispute)
        self.book.emit("charge.dispute.closed", dispute)
        return dispute

    def _move(self, dispute: Object, sign: int, *, fee: int) -> None:
        settled, rate = self.book.prices.settle(dispute["amount"], dispute["currency"])
        moved = self.book.move_money(
            kind="adjustment",
            category="dispute" if sign < 0 else "dispute_reversal",
            source=dispute, amount=sign * settled, fee=fee, days=0,
            rate=None if rate is None else float(rate),
        )  # fmt: skip
        dispute["balance_transactions"].append(moved["id"])


class PayingOut:
    """Payouts of what is available, by itself or by hand."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.lines: dict[str, list[str]] = {}
        self._paid_out: set[str] = set()

    def available(self) -> list[Object]:
        """Return the transactions that can be paid out now and were not."""
        return [
            item
            for item in reversed(list(self.book.all("balance_transaction")))
            if self.book.shown(item)["status"] == "available"
            and item["id"] not in self._paid_out
        ]

    def run(self) -> Object | None:
        """Pay out all that is available; None when that is nothing.

        With a negative balance the payout is negative.
        """
        lines = self.available()
        amount = sum(line["net"] for line in lines)
        if amount == 0:
            return None
        payout = self._make(amount, automatic=True)
        self._paid_out.update(line["id"] for line in lines)
        self.lines[payout["id"]] = [
            payout["balance_transaction"], *(line["id"] for line in lines)
        ]  # fmt: skip
        return payout

    def by_hand(self, amount: int) -> Object:
        """Pay out an amount that somebody asked for."""
        return self._make(amount, automatic=False)

    def arrive(self, id_: str) -> Object:
        """Let the money of a payout be at the bank."""
        payout = self.book.get(id_, "payout")
        payout["status"] = "paid"
        if payout["automatic"]:
            payout["reconciliation_status"] = "completed"
        self.book.emit("payout.paid", payout)
        return payout

    def fail(self, id_: str) -> Object:
        """Let the bank refuse a payout, also one that seemed paid."""
        payout = self.book.get(id_, "payout")
        if payout["status"] in ("failed", "canceled"):
            raise unexpected_state("the payout has ended", "payout_ended")
        moved = self.book.move_money(
            kind="payout_failure", category="payout_reversal", source=payout,
            amount=payout["amount"], currency=payout["currency"], days=0,
        )  # fmt: skip
        payout.update(
            status="failed", failure_code="account_closed",
            failure_message="The bank account is closed.",
            failure_balance_transaction=moved["id"],
        )  # fmt: skip
        self.book.emit("payout.failed", payout)
        return payout

    def _make(self, amount: int, *, automatic: bool) -> Object:
        now = self.book.clock.now()
        payout: dict[str, Any] = objects.payout(
            self.book.new_id("payout"), created=now, livemode=self.book.livemode,
            amount=amount, currency=self.book.prices.settlement, automatic=automatic,
            arrival=now - now % DAY + 2 * DAY,
            destination=self.book.new_id("bank_account"),
        )  # fmt: skip
        self.book.add(payout)
        moved = self.book.move_money(
            kind="payout", category="payout", source=payout, amount=-amount, days=0
        )
        self._paid_out.add(moved["id"])
        payout["balance_transaction"] = moved["id"]
        self.book.emit("payout.created", payout)
        return payout
