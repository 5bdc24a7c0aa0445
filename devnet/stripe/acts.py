"""Buyers, banks and time: what happens at Stripe without a request of ours."""

from __future__ import annotations

from devnet.stripe import objects
from devnet.stripe.book import Book
from devnet.stripe.errors import unexpected_state
from devnet.stripe.objects import Object


class Buying:
    """Checkout sessions that are paid, fail or expire."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def open_session(self, id_: str) -> Object:
        """Return a session that can be paid; raises ApiError for another."""
        session = self.book.get(id_, "checkout.session")
        if session["status"] != "open":
            raise unexpected_state(
                f"the session is {session['status']}", "checkout_session_not_open"
            )
        return session

    def pay(self, session: str, *, late_fee: bool = False) -> Object:
        """Pay by card: captured at once, or authorised if capture is manual."""
        found = self.open_session(session)
        charge = self._new_charge(found, "card")
        self._succeed(charge, late_fee=late_fee)
        self._complete(found, charge, paid=True)
        return charge

    def pay_slowly(self, session: str) -> Object:
        """Begin a payment by bank debit: complete, and unpaid for days."""
        found = self.open_session(session)
        charge = self._new_charge(found, "us_bank_account")
        intent = self.book.get(charge["payment_intent"], "payment_intent")
        intent["status"] = "processing"
        self.book.emit("charge.pending", charge)
        self.book.emit("payment_intent.processing", intent)
        self._complete(found, charge, paid=False)
        return charge

    def bank_pays(self, charge: str, *, late_fee: bool = False) -> Object:
        """End a slow payment well."""
        found = self._pending(charge)
        self._succeed(found, late_fee=late_fee)
        session = self.session_of(found)
        session["payment_status"] = "paid"
        self.book.emit("checkout.session.async_payment_succeeded", session)
        return found

    def bank_refuses(self, charge: str) -> Object:
        """End a slow payment without money."""
        found = self._pending(charge)
        self._fail(found, "bank_account_unusable")
        self.book.emit("checkout.session.async_payment_failed", self.session_of(found))
        return found

    def decline(self, session: str) -> Object:
        """Refuse a card; the session stays open for another."""
        found = self.open_session(session)
        charge = self._new_charge(found, "card")
        self._fail(charge, "card_declined")
        found["payment_intent"] = charge["payment_intent"]
        return charge

    def expire(self, session: str) -> Object:
        """Let a session end that nobody paid."""
        found = self.open_session(session)
        found.update(status="expired", url=None)
        self.book.emit("checkout.session.expired", found)
        return found

    def capture(self, intent: str, amount: int | None = None) -> Object:
        """Take the authorised money of an intent, or a part of it."""
        found = self.book.get(intent, "payment_intent")
        if found["status"] != "requires_capture":
            raise unexpected_state(
                f"the intent is {found['status']}", "payment_intent_unexpected_state"
            )
        charge = self.book.get(found["latest_charge"], "charge")
        taken = found["amount_capturable"] if amount is None else amount
        self._capture(charge, taken)
        self.book.emit("charge.captured", charge)
        self.book.emit("payment_intent.succeeded", found)
        return found

    def settle_fee(self, charge: str, *, told: bool = True) -> Object:
        """Make the balance transaction of a charge whose fee is late."""
        found = self.book.get(charge, "charge")
        if found["balance_transaction"] is not None or not found["captured"]:
            raise unexpected_state("no fee is late", "fee_not_late")
        self._settle(found)
        if told:
            self.book.emit("charge.updated", found)
        return found

    def stranger_pays(
        self, amount: int, currency: str, metadata: dict[str, str] | None = None
    ) -> Object:
        """Make a payment of another system that uses the same account."""
        intent = self._new_intent(amount, currency, metadata or {}, "automatic", "card")
        charge = self._charge_of(intent, "card")
        self._succeed(charge, late_fee=False)
        return charge

    def warn(self, charge: str, fraud_type: str = "made_with_stolen_card") -> Object:
        """Let the card's network warn that a charge is probably fraud."""
        found = self.book.get(charge, "charge")
        made = objects.warning(
            self.book.new_id("radar.early_fraud_warning"),
            created=self.book.clock.now(), livemode=self.book.livemode,
            charge=found, fraud_type=fraud_type,
        )  # fmt: skip
        self.book.emit("radar.early_fraud_warning.created", self.book.add(made))
        return made

    def session_of(self, charge: Object) -> Object:
        """Return the session that a charge was paid in."""
        for session in self.book.all("checkout.session"):
            if session["payment_intent"] == charge["payment_intent"]:
                return session
        raise unexpected_state("the charge is of no session", "no_session")

    def _pending(self, charge: str) -> Object:
        found = self.book.get(charge, "charge")
        if found["status"] != "pending" or found["paid"]:
            raise unexpected_state("the charge is not pending", "charge_not_pending")
        return found

    def _new_charge(self, session: Object, method: str) -> Object:
        terms = self.book.terms[session["id"]]
        if session["payment_intent"] is None:
            intent = self._new_intent(
                session["amount_total"], session["currency"], terms.metadata,
                terms.capture, method,
            )  # fmt: skip
        else:
            intent = self.book.get(session["payment_intent"], "payment_intent")
            intent["payment_method_types"] = [method]
        return self._charge_of(intent, method)

    def _new_intent(
        self, amount: int, currency: str, metadata: dict[str, str], capture: str,
        method: str,
    ) -> Object:  # fmt: skip
        intent = objects.intent(
            self.book.new_id("payment_intent"), created=self.book.clock.now(),
            livemode=self.book.livemode, amount=amount, currency=currency,
            metadata=dict(metadata), capture=capture, method=method,
        )  # fmt: skip
        self.book.emit("payment_intent.created", self.book.add(intent))
        return intent

    def _charge_of(self, intent: Object, method: str) -> Object:
        charge = objects.charge(
            self.book.new_id("charge"), created=self.book.clock.now(),
            livemode=self.book.livemode, amount=intent["amount"],
            currency=intent["currency"], metadata=dict(intent["metadata"]),
            intent=intent["id"], method=method,
        )  # fmt: skip
        intent["latest_charge"] = charge["id"]
        return self.book.add(charge)

    def _succeed(self, charge: Object, *, late_fee: bool) -> None:
        intent = self.book.get(charge["payment_intent"], "payment_intent")
        charge.update(status="succeeded", paid=True)
        if intent["capture_method"] == "manual":
            intent.update(status="requires_capture", amount_capturable=intent["amount"])
            self.book.emit("charge.succeeded", charge)
            self.book.emit("payment_intent.amount_capturable_updated", intent)
            return
        self._capture(charge, charge["amount"], late_fee=late_fee)
        self.book.emit("charge.succeeded", charge)
        self.book.emit("payment_intent.succeeded", intent)

    def _capture(self, charge: Object, amount: int, *, late_fee: bool = False) -> None:
        intent = self.book.get(charge["payment_intent"], "payment_intent")
        charge.update(captured=True, amount_captured=amount)
        intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
        if not late_fee:
            self._settle(charge)

    def _settle(self, charge: Object) -> None:
        settled, rate = self.book.prices.settle(
            charge["amount_captured"], charge["currency"]
        )
        card = charge["payment_method_details"]["type"] == "card"
        moved = self.book.move_money(
            kind="charge" if card else "payment", category="charge", source=charge,
            amount=settled, rate=None if rate is None else float(rate),
            fee=self.book.prices.fee(settled, converted=rate is not None),
        )  # fmt: skip
        charge["balance_transaction"] = moved["id"]

    def _fail(self, charge: Object, code: str) -> None:
        intent = self.book.get(charge["payment_intent"], "payment_intent")
        charge.update(
            status="failed", failure_code=code, failure_message="It was declined."
        )
        intent["status"] = "requires_payment_method"
        self.book.emit("charge.failed", charge)
        self.book.emit("payment_intent.payment_failed", intent)

    def _complete(self, session: Object, charge: Object, *, paid: bool) -> None:
        session.update(
            status="complete", url=None, payment_intent=charge["payment_intent"],
            payment_status="paid" if paid else "unpaid",
        )  # fmt: skip
        self.book.emit("checkout.session.completed", session)
