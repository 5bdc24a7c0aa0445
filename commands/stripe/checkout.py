"""Checkout sessions, each made once for a key, whatever happens on the way.

    session = create_session(client, engine, SessionRequest(...), key="purchase-17")

That a session is asked for is written down before Stripe is asked, and Stripe is asked
with an idempotency key of it: an answer that was lost comes again. Stripe keeps such a
key for a day ("Idempotent requests" in its manual). Later, and after an answer that
stays an error, the sessions of that time are listed and looked through: a list has
what was made, where a search is a minute behind.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import stripe
from sqlalchemy import Engine

from commands.stripe.asking import (
    PAGE,
    QUIET,
    REPLAYED_FOR,
    REQUEST,
    PaymentsAway,
    StaysAnError,
    ask_stripe,
)
from commands.stripe.client import Client
from db.payments import DOMAIN, PURCHASE
from db.payments import sessions as rows
from db.payments.sessions import SessionRow

KEY_LENGTH_MAX = 200
AMOUNT_MAX = 99_999_999  # minor units; Stripe takes no more in most currencies
EXPIRES_AT_LEAST = timedelta(minutes=30)  # after a session is made; less is refused
CLOCKS_APART = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, repr=False)
class CheckoutOptions:
    """The account that takes cards, and the pages that buyers come back to."""

    client: Client
    success_url: str
    cancel_url: str = ""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """One purchase to be paid for: `amount` in minor units of `currency`.

    `domain` and `purchase` come back in every entry about the payment.
    """

    domain: str
    purchase: str
    title: str
    amount: int
    currency: str
    success_url: str
    cancel_url: str = ""
    expires_seconds: int = 0  # after it is asked for, 3,600 to 86,000; 0: a day

    def __post_init__(self) -> None:
        if type(self.amount) is not int or not 0 < self.amount <= AMOUNT_MAX:
            raise ValueError(
                f"amount {self.amount!r}: it is a whole number of minor units, from 1 "
                f"to {AMOUNT_MAX}"
            )
        for name in ("domain", "purchase", "title", "success_url"):
            if not 0 < len(getattr(self, name)) <= 500:
                raise ValueError(f"{name} has 1 to 500 characters")
        if not (len(self.currency) == 3 and self.currency.islower()):
            raise ValueError(f"currency {self.currency!r}: three letters in lower case")
        if self.expires_seconds and not 3_600 <= self.expires_seconds <= 86_000:
            raise ValueError("expires_seconds is 0, or from 3,600 to 86,000")


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """A checkout session: buyers pay at `url`, which is empty once it is over.

    `status` is open, complete or expired; `payment_status` paid or unpaid.
    """

    id: str
    url: str
    status: str
    payment_status: str
    payment_intent: str


def create_session(
    client: Client,
    engine: Engine,
    request: SessionRequest,
    *,
    key: str,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> CheckoutSession:
    """Return the session of a key, made now if there is none yet.

    Raises PaymentsAway when Stripe cannot be reached, after which the same call may be
    made again at any time; PaymentRefused when it says no; KeyOfAnother when the key
    was used for another request.
    """
    if not 0 < len(key) <= KEY_LENGTH_MAX:
        raise ValueError(f"a key has 1 to {KEY_LENGTH_MAX} characters")
    digest = _digest(request)
    with engine.begin() as connection:
        row = rows.begin(connection, key, digest, clock())
    if row.session:
        return find_session(client, row.session)
    if _is_over(request, clock() - row.asked_at):
        made = _listed(client, row, clock())
        if made is not None:
            return _remembered(engine, row, made)
        row = _next(engine, row, digest, clock())
    try:
        made = _create(client, request, row)
    except StaysAnError:
        found = _listed(client, row, clock())
        made = found or _create(client, request, _next(engine, row, digest, clock()))
    return _remembered(engine, row, made)


def find_session(client: Client, id_: str) -> CheckoutSession:
    """Return a session as it is now; raises PaymentsAway or PaymentRefused."""
    return _session(ask_stripe(lambda: client.v1.checkout.sessions.retrieve(id_)))


def expire_session(client: Client, id_: str) -> CheckoutSession:
    """End an open session, so that it cannot be paid any more.

    Raises PaymentRefused for one that is not open: it may have been paid just now.
    """
    return _session(ask_stripe(lambda: client.v1.checkout.sessions.expire(id_)))


def _is_over(request: SessionRequest, age: timedelta) -> bool:
    """Whether an attempt is so old that its key must not be used again.

    Stripe may have forgotten it, or would refuse the time at which the session ends.
    Raises PaymentsAway shortly before: another process may be asking just then, and its
    session must be in the list that is looked through afterwards.
    """
    lasts = REPLAYED_FOR
    if request.expires_seconds:
        expires = timedelta(seconds=request.expires_seconds)
        lasts = min(lasts, expires - EXPIRES_AT_LEAST - QUIET)
    if lasts - QUIET <= age < lasts:
        raise PaymentsAway(
            "an answer of Stripe's was lost some time ago: ask again in three minutes, "
            "with the same key"
        )
    return age >= lasts


def _create(
    client: Client, request: SessionRequest, row: SessionRow
) -> CheckoutSession:
    metadata = {
        DOMAIN: request.domain, PURCHASE: request.purchase, REQUEST: row.key
    }  # fmt: skip
    params: Any = {
        "mode": "payment",
        "client_reference_id": request.purchase[:200],
        "success_url": request.success_url,
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        "line_items": [{
            "quantity": 1,
            "price_data": {
                "currency": request.currency,
                "unit_amount": request.amount,
                "product_data": {"name": request.title},
            },
        }],
    }  # fmt: skip
    if request.cancel_url:
        params["cancel_url"] = request.cancel_url
    if request.expires_seconds:
        asked = int(row.asked_at.timestamp())
        params["expires_at"] = asked + request.expires_seconds
    name = f"chainfold:{row.attempt}:{row.key}"
    create = client.v1.checkout.sessions.create
    return _session(ask_stripe(lambda: create(params, {"idempotency_key": name})))


def _listed(client: Client, row: SessionRow, now: datetime) -> CheckoutSession | None:
    """The session that an attempt made, found among all of its time."""
    first = int((row.asked_at - CLOCKS_APART).timestamp())
    last = int((min(now, row.asked_at + timedelta(days=1)) + CLOCKS_APART).timestamp())
    params: Any = {"created": {"gte": first, "lte": last}, "limit": PAGE}
    while True:
        page = ask_stripe(partial(client.v1.checkout.sessions.list, params))
        for each in page.data:
            own_metadata = {} if each.metadata is None else each.metadata.to_dict()
            if own_metadata.get(REQUEST) == row.key:
                return _session(each)
        if not page.has_more or not page.data:
            return None
        params = {**params, "starting_after": page.data[-1].id}


def _next(engine: Engine, row: SessionRow, digest: str, now: datetime) -> SessionRow:
    with engine.begin() as connection:
        begun = rows.begin_again(connection, row, now)
        return begun or rows.begin(connection, row.key, digest, now)


def _remembered(
    engine: Engine, row: SessionRow, made: CheckoutSession
) -> CheckoutSession:
    with engine.begin() as connection:
        rows.remember(connection, row.key, made.id)
    return made


def _session(found: stripe.checkout.Session) -> CheckoutSession:
    intent = found.payment_intent
    return CheckoutSession(
        id=found.id,
        url=found.url or "",
        status=found.status or "",
        payment_status=found.payment_status,
        payment_intent=intent if isinstance(intent, str) else getattr(intent, "id", ""),
    )


def _digest(request: SessionRequest) -> str:
    text = json.dumps(asdict(request), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
