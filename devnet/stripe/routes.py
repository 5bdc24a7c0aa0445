"""The routes of the API: a method and a path to what is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from devnet.stripe import objects
from devnet.stripe.acts import Buying
from devnet.stripe.book import DAY, Book, Terms
from devnet.stripe.errors import ApiError, missing
from devnet.stripe.forms import integer, known
from devnet.stripe.lists import PAGING, expanded, page
from devnet.stripe.money import exponent
from devnet.stripe.objects import Object
from devnet.stripe.refunds import Disputing, PayingOut, Refunding

Form = dict[str, Any]
Route = tuple[str, re.Pattern[str], Callable[..., Any]]
_NAMES = {
    "checkout/sessions": "checkout.session", "payment_intents": "payment_intent",
    "charges": "charge", "refunds": "refund", "disputes": "dispute",
    "balance_transactions": "balance_transaction", "payouts": "payout",
    "radar/early_fraud_warnings": "radar.early_fraud_warning",
}  # fmt: skip
_FILTERS = {
    "checkout.session": ("payment_intent", "status"), "payment_intent": (),
    "charge": ("payment_intent",), "refund": ("charge", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "balance_transaction": ("source", "type", "currency"), "payout": ("status",),
    "radar.early_fraud_warning": ("charge", "payment_intent"),
}  # fmt: skip
EXPIRES_SECONDS, EXPIRES_SECONDS_MIN = DAY, 1_800


class Routes:
    """Everything that may be asked of an account."""

    def __init__(self, book: Book, host: Callable[[], str]) -> None:
        self.book, self._host = book, host
        self.buying, self.refunding = Buying(book), Refunding(book)
        self.disputing, self.paying_out = Disputing(book), PayingOut(book)
        self._routes: list[Route] = [
            *_route("GET", "account", self._account),
            *_route("GET", "balance", self._balance),
            *_route("GET", "events", self._events),
            *_route("GET", "events/<id>", self._event),
            *_route("POST", "checkout/sessions", self._create_session),
            *_route("POST", "checkout/sessions/<id>/expire", self._expire),
            *_route("POST", "payment_intents/<id>/capture", self._capture),
            *_route("POST", "refunds", self._create_refund),
            *_route("POST", "refunds/<id>/cancel", self._cancel_refund),
            *_route("POST", "disputes/<id>/close", self._close_dispute),
            *_route("POST", "payouts", self._create_payout),
        ]
        for path, kind in _NAMES.items():
            self._routes += _route("GET", path, self._lister(kind))
            self._routes += _route("GET", f"{path}/<id>", self._getter(kind))

    def answer(self, method: str, path: str, form: Form) -> Any:
        """Return what a request is answered; raises ApiError."""
        for verb, pattern, act in self._routes:
            found = pattern.fullmatch(path)
            if found and verb == method:
                return act(form, **found.groupdict())
        raise ApiError(
            404, f"Unrecognized request URL ({method}: {path}).", code="url_invalid"
        )

    def _account(self, form: Form) -> Object:
        known(form)
        return self.book.account

    def _balance(self, form: Form) -> Object:
        known(form)
        sums = {"available": 0, "pending": 0}
        for item in self.book.all("balance_transaction"):
            sums[self.book.shown(item)["status"]] += item["net"]
        currency = self.book.prices.settlement
        return {
            "object": "balance", "livemode": self.book.livemode,
            **{
                name: [{"amount": amount, "currency": currency}]
                for name, amount in sums.items()
            },
        }  # fmt: skip

    def _events(self, form: Form) -> Any:
        known(form, *PAGING, "type", "types", "delivery_success")
        wanted: Sequence[str] = form.get("types") or [form.get("type", "*")]
        found = [
            event
            for event in self.book.visible_events()
            if any(fnmatchcase(event["type"], each) for each in wanted)
        ]
        return page(self.book, found, form, "/v1/events")

    def _event(self, form: Form, id: str) -> Object:  # noqa: A002 (of the path)
        known(form, "expand")
        oldest = self.book.clock.now() - 30 * DAY
        for each in self.book.events:
            if each.event["id"] == id and each.event["created"] >= oldest:
                return each.event
        raise missing("event", id)

    def _lister(self, kind: str) -> Callable[..., Any]:
        path = next(path for path, name in _NAMES.items() if name == kind)

        def answer(form: Form) -> Any:
            payout = form.get("payout") if kind == "balance_transaction" else None
            also = ("payout",) if kind == "balance_transaction" else ()
            known(form, *PAGING, *_FILTERS[kind], *also)
            found = list(self.book.all(kind))
            for name in _FILTERS[kind]:
                if name in form:
                    found = [item for item in found if item[name] == form[name]]
            if payout is not None:
                lines = self._lines(str(payout))
                found = [item for item in found if item["id"] in lines]
            return page(self.book, found, form, f"/v1/{path}")

        return answer

    def _lines(self, payout: str) -> list[str]:
        found = self.book.get(payout, "payout")
        if not found["automatic"]:
            raise ApiError(
                400,
                "Balance transaction history can only be filtered on automatic "
                "transfers, not manual.",
                param="payout",
            )
        return self.paying_out.lines[payout]

    def _getter(self, kind: str) -> Callable[..., Any]:
        def answer(form: Form, id: str) -> Object:  # noqa: A002 (of the path)
            known(form, "expand")
            return expanded(self.book, self.book.get(id, kind), form.get("expand", []))

        return answer

    def _create_session(self, form: Form) -> Object:
        known(
            form, "mode", "line_items", "success_url", "cancel_url", "metadata",
            "client_reference_id", "payment_intent_data", "payment_method_types",
            "expires_at", "customer_email",
        )  # fmt: skip
        if form.get("mode") != "payment":
            raise ApiError(400, "Missing required param: mode.", param="mode")
        amount, currency = _priced(form.get("line_items"))
        data = form.get("payment_intent_data", {})
        known(data, "metadata", "capture_method", "description")
        now = self.book.clock.now()
        expires_at = integer(form, "expires_at", now + EXPIRES_SECONDS)
        if not now + EXPIRES_SECONDS_MIN <= expires_at <= now + EXPIRES_SECONDS:
            raise ApiError(
                400,
                "The `expires_at` timestamp must be at least 30 minutes and at most 24 "
                "hours from Checkout Session creation.",
                param="expires_at",
            )
        id_ = self.book.new_id("checkout.session")
        session = objects.session(
            id_, created=now, livemode=self.book.livemode, amount=amount,
            currency=currency, metadata=dict(form.get("metadata", {})),
            reference=form.get("client_reference_id"),
            success_url=form.get("success_url"),
            expires_at=expires_at,
            url=f"{self._host()}/pay/{id_}",
        )  # fmt: skip
        terms = Terms(
            dict(data.get("metadata", {})), data.get("capture_method", "automatic")
        )
        self.book.terms[id_] = terms
        return self.book.add(session)

    def _expire(self, form: Form, id: str) -> Object:  # noqa: A002 (of the path)
        known(form, "expand")
        return self.buying.expire(id)

    def _capture(self, form: Form, id: str) -> Object:  # noqa: A002 (of the path)
        known(form, "amount_to_capture", "expand")
        amount = integer(form, "amount_to_capture") if form else None
        return self.buying.capture(id, amount)

    def _create_refund(self, form: Form) -> Object:
        known(form, "charge", "payment_intent", "amount", "reason", "metadata")
        id_ = form.get("charge")
        if id_ is None:
            intent = self.book.get(str(form.get("payment_intent")), "payment_intent")
            id_ = intent["latest_charge"]
        return self.refunding.create(
            self.book.get(str(id_), "charge"),
            integer(form, "amount") if "amount" in form else None,
            form.get("reason"), dict(form.get("metadata", {})),
        )  # fmt: skip

    def _cancel_refund(self, form: Form, id: str) -> Object:  # noqa: A002 (of the path)
        known(form)
        return self.refunding.cancel(id)

    def _close_dispute(self, form: Form, id: str) -> Object:  # noqa: A002 (of the path)
        known(form)
        return self.disputing.close(id, won=False)

    def _create_payout(self, form: Form) -> Object:
        known(form, "amount", "currency", "metadata", "description")
        if form.get("currency") != self.book.prices.settlement:
            raise ApiError(400, "There is no balance in it.", param="currency")
        return self.paying_out.by_hand(integer(form, "amount"))


def _priced(lines: Any) -> tuple[int, str]:
    """Return the total and the currency of line items that have their price inline."""
    if not isinstance(lines, list) or not lines:
        raise ApiError(400, "Missing required param: line_items.", param="line_items")
    total, currency = 0, ""
    for line in lines:
        price = line.get("price_data", {})
        known(price, "currency", "unit_amount", "product_data")
        currency = str(price.get("currency", ""))
        exponent(currency)
        amount = integer(price, "unit_amount")
        if amount <= 0 or not re.fullmatch("[a-z]{3}", currency):
            raise ApiError(400, "Invalid price_data.", param="line_items[0]")
        total += amount * integer(line, "quantity", 1)
    return total, currency


def _route(method: str, path: str, act: Callable[..., Any]) -> list[Route]:
    pattern = re.escape(f"/v1/{path}").replace("<id>", "(?P<id>[A-Za-z0-9_]+)")
    return [(method, re.compile(pattern), act)]
