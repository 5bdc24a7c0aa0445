"""Looking at an object: it is fetched from the API, and what it shows is to be said.

What an event or a webhook holds of an object is never used: it may be old, of another
version of the API, or made up.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from db.payments.events import Saying
from indexer.stripe import saying
from indexer.stripe.asking import Api
from indexer.stripe.values import Object, Owner, id_of, inner, number, owner_of, text

FEE_LATE = "its fee is not known yet"
_INTENT, _CHARGE = "payment_intent", "latest_charge"

SESSION = "checkout.session"
# The types of events that are looked at, by the object that they are about.
KINDS = {
    "charge": (
        "charge.captured", "charge.refunded", "charge.succeeded", "charge.updated",
    ),
    "payment_intent": ("payment_intent.succeeded",),
    SESSION: (
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded", "checkout.session.completed",
        "checkout.session.expired",
    ),
    "refund": (
        "charge.refund.updated", "refund.created", "refund.failed", "refund.updated",
    ),
    "dispute": (
        "charge.dispute.closed", "charge.dispute.created",
        "charge.dispute.funds_reinstated", "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
    ),
    "radar.early_fraud_warning": (
        "radar.early_fraud_warning.created", "radar.early_fraud_warning.updated",
    ),
    "payout": (
        "payout.canceled", "payout.created", "payout.failed", "payout.paid",
        "payout.reconciliation_completed", "payout.updated",
    ),
}  # fmt: skip
TYPES = {type_: kind for kind, types in KINDS.items() for type_ in types}


@dataclass(slots=True)
class Sighting:
    """The entries that an object shows; `waits` is the reason to look again."""

    sayings: list[Saying] = field(default_factory=list)
    foreign: bool = False
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Looking:
    """Looks at objects for the domains of this deployment.

    `known` tells whether something was said, so that it need not be asked for again.
    """

    api: Api
    domains: Collection[str]
    known: Callable[[str], bool]

    def look(self, kind: str, id_: str) -> Sighting:
        """Fetch an object and what belongs to it; raises Gone, Away or OddAnswer."""
        looks = {
            "charge": self._charge, "payment_intent": self._intent,
            SESSION: self._session, "refund": self._refund,
            "dispute": self._dispute, "radar.early_fraud_warning": self._warning,
            "payout": self._payout,
        }  # fmt: skip
        return looks[kind](id_)

    def is_ours(self, charge: Object) -> bool:
        """Whether a charge is of a domain of this deployment, by its metadata."""
        return self._is_ours(owner_of(charge, inner(charge, _INTENT)))

    def _charge(self, id_: str) -> Sighting:
        charge = self.api.retrieve("charges", id_, "balance_transaction", _INTENT)
        return self._sight(charge, owner_of(charge, inner(charge, _INTENT)))

    def _sight(self, charge: Object, owner: Owner, session: str = "") -> Sighting:
        """See what a charge with its balance transaction shows."""
        if not self._is_ours(owner):
            return Sighting(foreign=True)
        seen = Sighting()
        if saying.is_captured(charge):
            self._capture(seen, charge, session, owner)
        if number(charge, "amount_refunded"):
            id_ = text(charge, "id")
            for refund in self.api.each("refunds", charge=id_, expand=_REFUND_LISTED):
                self._add_refund(seen, refund, owner)
        return seen

    def _capture(
        self, seen: Sighting, charge: Object, session: str, owner: Owner
    ) -> None:
        id_ = text(charge, "id")
        if not self.known(saying.captured_key(id_)):
            name = session or self._session_of(id_of(charge, _INTENT))
            seen.sayings.append(saying.say_captured(charge, name, owner))
        if not self.known(saying.fee_key(id_)):
            seen.sayings += saying.say_fee(charge, owner)
            if not id_of(charge, "balance_transaction"):
                seen.waits = FEE_LATE

    def _session_of(self, intent: str) -> str:
        """The id of the session that an intent was paid in; empty without one."""
        if not intent:
            return ""
        found = self.api.each("checkout.sessions", payment_intent=intent)
        return next((text(each, "id") for each in found), "")

    def _intent(self, id_: str) -> Sighting:
        intent = self.api.retrieve(
            "payment_intents", id_, f"{_CHARGE}.balance_transaction"
        )
        charge = inner(intent, _CHARGE)
        if charge is None:
            return Sighting(foreign=not self._is_ours(owner_of(intent)))
        return self._sight(charge, owner_of(charge, intent))

    def _session(self, id_: str) -> Sighting:
        session = self.api.retrieve(
            "checkout.sessions", id_, f"{_INTENT}.{_CHARGE}.balance_transaction"
        )
        intent = inner(session, _INTENT)
        charge = None if intent is None else inner(intent, _CHARGE)
        owner = owner_of(charge, intent, session)
        if not self._is_ours(owner):
            return Sighting(foreign=True)
        status, paid = text(session, "status"), text(session, "payment_status")
        if status == "expired":
            return Sighting([saying.say_expired(session, owner)])
        if status != "complete" or intent is None:
            return Sighting()
        if paid == "paid":
            return Sighting() if charge is None else self._sight(charge, owner, id_)
        refused = text(intent, "status") in ("requires_payment_method", "canceled")
        return Sighting([saying.say_failed(session, owner)] if refused else [])

    def _refund(self, id_: str) -> Sighting:
        refund = self.api.retrieve(
            "refunds", id_, "balance_transaction", "failure_balance_transaction",
            f"charge.{_INTENT}",
        )  # fmt: skip
        owner = self._owner_of_part(refund)
        if not self._is_ours(owner):
            return Sighting(foreign=True)
        seen = Sighting()
        self._add_refund(seen, refund, owner)
        return seen

    def _add_refund(self, seen: Sighting, refund: Object, owner: Owner) -> None:
        seen.sayings += saying.say_refund(refund, owner)
        seen.waits = saying.refund_waits(refund) or seen.waits

    def _dispute(self, id_: str) -> Sighting:
        dispute = self.api.retrieve("disputes", id_, f"charge.{_INTENT}")
        owner = self._owner_of_part(dispute)
        if not self._is_ours(owner):
            return Sighting(foreign=True)
        return Sighting(list(saying.say_dispute(dispute, owner)))

    def _warning(self, id_: str) -> Sighting:
        warning = self.api.retrieve(
            "radar.early_fraud_warnings", id_, f"charge.{_INTENT}"
        )
        owner = self._owner_of_part(warning)
        if not self._is_ours(owner):
            return Sighting(foreign=True)
        return Sighting([saying.say_warning(warning, owner)])

    def _payout(self, id_: str) -> Sighting:
        payout = self.api.retrieve(
            "payouts", id_, "balance_transaction", "failure_balance_transaction"
        )
        return Sighting(
            list(saying.say_payout(payout)), waits=saying.payout_waits(payout)
        )

    def _owner_of_part(self, item: Object) -> Owner:
        """The owner of the charge that a refund, dispute or warning is about."""
        charge = inner(item, "charge")
        return owner_of(charge, None if charge is None else inner(charge, _INTENT))

    def _is_ours(self, owner: Owner) -> bool:
        return owner.domain in self.domains


_REFUND_LISTED = ["data.balance_transaction", "data.failure_balance_transaction"]
