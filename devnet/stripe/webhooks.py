"""Webhooks of fakestripe: bodies signed as Stripe signs them, delivered with faults.

The signature is that of Stripe's manual ("Verify webhook signatures manually"): HMAC
with SHA-256 over the time, a dot and the raw body.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import orjson

from devnet.stripe.book import Book
from devnet.stripe.faults import Faults, Webhook
from devnet.stripe.objects import Object

SECRET = "whsec_fakestripe"  # noqa: S105 (known to everyone: it signs for fakestripe)
DELAY_SECONDS = 3600
TIMEOUT_SECONDS = 10


def sign(body: bytes, secret: str, at: int) -> str:
    """Return the ``Stripe-Signature`` of a body."""
    text = f"{at}.".encode() + body
    digest = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


@dataclass(slots=True)
class Deliveries:
    """The events that an endpoint is to hear of, until it has answered with 2xx."""

    book: Book
    faults: Faults
    url: str = ""
    secret: str = SECRET
    waiting: list[tuple[int, bytes]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)  # every status that came back

    def __post_init__(self) -> None:
        self.book.heard.append(self._hear)

    def deliver(self) -> int:
        """Deliver what is due; how many were taken. The others are tried again."""
        now = self.book.clock.now()
        due = [body for at, body in self.waiting if at <= now]
        self.waiting = [each for each in self.waiting if each[0] > now]
        self.faults.shuffle(due)
        taken = 0
        for body in due:
            if self._post(body):
                taken += 1
            else:
                self.waiting.append((now + DELAY_SECONDS, body))
        return taken

    def _hear(self, event: Object) -> None:
        if not self.url:
            return
        body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
        now, fault = self.book.clock.now(), self.faults.of_delivery()
        if fault is Webhook.DROP:
            return
        self.waiting.append((now + DELAY_SECONDS * (fault is Webhook.DELAY), body))
        if fault is Webhook.DUPLICATE:
            self.waiting.append((now, body))

    def _post(self, body: bytes) -> bool:
        request = urllib.request.Request(  # noqa: S310 (a loopback address is given)
            self.url, body, method="POST",
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Stripe-Signature": sign(body, self.secret, self.book.clock.now()),
            },
        )  # fmt: skip
        status = 0
        with contextlib.suppress(OSError):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (as above)
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
        self.answered.append(status)
        return 200 <= status < 300
