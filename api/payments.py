"""The webhook, by which Stripe tells that something happened.

POST /api/v1/checkout/webhook   (also /api/checkout/webhook/)

Its signature is over the raw bytes, and holds for some minutes. The body is kept as it
came, once for each event, and the reader is woken; nothing in it is taken for true.
"""

import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe
from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.middleware import accepts
from api.errors import Problem
from api.json_answers import json_answer
from api.service import PREFIX, Service
from commands.stripe.checkout import CheckoutOptions
from db.bounded import Unreadable, load_json
from db.payments import webhooks

SIGNATURE = "Stripe-Signature"
TOLERANCE_SECONDS = 300  # as Stripe's own libraries have it, but to both sides
BODY_BYTES_MAX = 256 << 10
ID_LENGTH_MAX = 200
SHORT = "/api/checkout/webhook/"
THIN = "v2.core.event"

_RECEIVED = {
    "type": "object",
    "required": ["received"],
    "properties": {"received": {"const": True}},
}


@dataclass(frozen=True, slots=True, repr=False)
class PaymentOptions:
    """The secrets that webhooks are signed with: two while one replaces another.

    With `checkout` the domains that sell can make checkout sessions.
    """

    secrets: Sequence[str] = ()
    checkout: CheckoutOptions | None = None


def payments_blueprint(service: Service, options: PaymentOptions) -> Blueprint:
    """`POST /checkout/webhook`."""
    blueprint = Blueprint(
        "stripe", __name__, description="Where Stripe tells what happened."
    )

    @accepts("application/json", max_bytes=BODY_BYTES_MAX)
    def take_webhook() -> Response:
        """Take a webhook of Stripe's. It only tells that there is something to read."""
        if not options.secrets:
            raise Problem(
                "not_configured",
                "There is no secret to check webhooks with. Write [stripe] "
                "webhook_secret_env, and put the signing secret of the endpoint there.",
            )
        if service.writer is None:
            raise Problem("read_only", "This API cannot write. Ask the one that can.")
        body = request.get_data(cache=False)
        if len(body) > BODY_BYTES_MAX:
            raise Problem("too_large", f"A webhook may have {BODY_BYTES_MAX} bytes.")
        signed_at = check_signature(
            body, request.headers.get(SIGNATURE, ""), options.secrets, time.time()
        )
        event, fetched = _event_of(body)
        with service.writer.begin() as connection:
            webhooks.keep(
                connection, event, body, signed_at=signed_at, fetched=fetched,
                now=datetime.now(UTC),
            )  # fmt: skip
        return json_answer({"received": True})

    blueprint.add_url_rule(
        f"{PREFIX}/checkout/webhook",
        "take_webhook",
        blueprint.doc(**_described(take_webhook.__doc__ or ""))(take_webhook),
        methods=["POST"],
        strict_slashes=False,
    )
    return blueprint


def check_signature(
    body: bytes, header: str, secrets: Sequence[str], now: float
) -> int:
    """Return when a body was signed; raises the Problem `bad_signature`."""
    signed_at = _time_of(header)
    if signed_at is None or not any(_fits(body, header, each) for each in secrets):
        raise Problem(
            "bad_signature",
            f"{SIGNATURE} is not of this body and our secret. Sign the raw bytes with "
            "the secret of this endpoint.",
        )
    if abs(now - signed_at) > TOLERANCE_SECONDS:
        raise Problem(
            "bad_signature",
            f"It was signed {abs(now - signed_at):.0f} s {_side(now - signed_at)}, and "
            f"{TOLERANCE_SECONDS} s are allowed. Compare the clocks, and sign it anew.",
        )
    return signed_at


def _fits(body: bytes, header: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, header, secret))
    except (stripe.SignatureVerificationError, UnicodeDecodeError, TypeError):
        return False


def _time_of(header: str) -> int | None:
    """The time that a signature names."""
    for part in header.split(",")[:20]:
        name, _, value = part.strip().partition("=")
        if hmac.compare_digest(name.encode(), b"t"):
            digits = value.isascii() and value.isdigit() and len(value) <= 12
            return int(value) if digits else None
    return None


def _side(seconds: float) -> str:
    return "ago" if seconds > 0 else "ahead of our clock"


def _event_of(body: bytes) -> tuple[str, bool]:
    """The id of the event, and whether it cannot be retrieved by it."""
    try:
        content = load_json(body, bytes_max=BODY_BYTES_MAX)
    except Unreadable as error:
        raise Problem("bad_body", f"{error}. Send an event of Stripe's.") from None
    id_ = content.get("id") if isinstance(content, dict) else None
    if not isinstance(id_, str) or not 0 < len(id_) <= ID_LENGTH_MAX or "\0" in id_:
        raise Problem("bad_body", "It has no id. Send an event of Stripe's.")
    if content.get("object") != THIN:
        return id_, False
    snapshot = content.get("snapshot_event")
    if isinstance(snapshot, str) and 0 < len(snapshot) <= ID_LENGTH_MAX:
        return snapshot, False
    return id_, True


def _described(text: str) -> dict[str, Any]:
    return {
        "summary": "Take a webhook of Stripe's",
        "description": " ".join(text.split()),
        "operationId": "take_webhook",
        "security": [],
        "parameters": [{
            "in": "header", "name": SIGNATURE, "required": True,
            "schema": {"type": "string"},
        }],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "responses": {
            "200": {
                "description": "It is kept, and was not believed.",
                "content": {"application/json": {"schema": _RECEIVED}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }  # fmt: skip
