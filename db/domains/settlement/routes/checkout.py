"""Routes for buyers: begin to buy, what it costs, and the document of an NFT."""

import hashlib
from typing import Any

from flask import Response, request

from api.auth.principal import current_principal, require_role
from api.auth.routes import shape
from api.command_problems import as_problems
from api.errors import Problem
from api.idempotency import alone_with, idempotency_key
from api.json_answers import json_answer
from api.schemas import Schema
from api.service import Service
from api.writes import actor_of, body_of_request, require_command_service
from commands.stripe.asking import PaymentRefused, PaymentsAway
from commands.stripe.checkout import (
    CheckoutOptions,
    CheckoutSession,
    SessionRequest,
    create_session,
)
from commands.submit import Submission
from db import reads
from db.declare import RowOf
from db.domains.settlement import money
from db.domains.settlement.commands import StartPurchase
from db.domains.settlement.projections import NAME, Content, ContentDocument
from db.domains.settlement.roles import BUYER
from db.domains.settlement.routes.described import CENTS, MICRO, PURCHASE
from db.journal.head import SOURCE
from db.reads.tables import ReadTables

SESSION = shape(
    data=shape(
        purchase=PURCHASE, session={"type": "string"}, url={"type": "string"},
        price=CENTS, total=CENTS,
    )
)  # fmt: skip
BREAKDOWN = shape(
    data=shape(
        price=CENTS, total=CENTS, card_fee=CENTS, distributable=MICRO,
        platform_fee=MICRO, creator_pool=MICRO,
    )
)  # fmt: skip
DOCUMENT: Schema = {"type": "object"}
ASKED: Schema = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["content", "wallet"],
                "properties": {
                    "content": {"type": "string", "maxLength": 100},
                    "wallet": {
                        "type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$",
                    },
                },
                "additionalProperties": False,
            }
        }
    },
}  # fmt: skip


class Checkout:
    """The views, with what they need."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def session(self) -> Response:
        """Begin to buy a chapter or content with a card.

        The answer's `url` is where the buyer pays. The same key gives the same session.
        """
        principal = current_principal(self._service)
        require_role(principal, BUYER, *StartPurchase.spec.roles)
        commands = require_command_service(self._service)
        checkout = self._service.checkout
        assert checkout is not None  # else the route is not there
        key, body = idempotency_key(), body_of_request()
        content = self._content(str(body.get("content", "")))
        purchase = _purchase_id(principal.tenant, key)
        total = money.buyer_total(content.price)
        asked = Submission(
            actor=actor_of(principal),
            idempotency_key=key,
            arguments={
                "purchase": purchase,
                "content": content.content,
                "account": str(principal.account or principal.name),
                "buyer": body.get("wallet"),
                "price": content.price,
                "total": total,
            },
            asker=principal.asker,
        )
        with alone_with(principal.tenant, key), as_problems():
            commands.submit(StartPurchase, asked)
        session = _made(
            self._service, checkout, SessionRequest(
                NAME, purchase, content.title, total, "usd",
                checkout.success_url, checkout.cancel_url,
            ), purchase,
        )  # fmt: skip
        answer = json_answer(
            {
                "data": {
                    "purchase": purchase,
                    "session": session.id,
                    "url": session.url,
                    "price": content.price,
                    "total": total,
                }
            }
        )
        answer.status_code = 201
        return answer

    def breakdown(self) -> Response:
        """Return what a buyer pays for a price in cents, and who gets it."""
        given = request.args.get("price", "")
        try:
            price = int(given)
            amount = money.distributable(price)
        except ValueError:
            raise Problem(
                "bad_parameter", "price: say it in cents, at least 3, as ?price=500."
            ) from None
        if price > 10**8:
            raise Problem("bad_parameter", "price: at most 100,000,000 cents.")
        fee, _, _ = money.split(amount, [money.BASIS_POINTS])
        total = money.buyer_total(price)
        return json_answer(
            {
                "data": {
                    "price": price,
                    "total": total,
                    "card_fee": total - price,
                    "distributable": str(amount),
                    "platform_fee": str(fee),
                    "creator_pool": str(amount - fee),
                }
            }
        )

    def metadata(self, document: str) -> Response:
        """Return the metadata of an NFT, byte by byte; its hash is its name."""
        digest = document.removesuffix(".json").lower()
        try:
            wanted = bytes.fromhex(digest)
        except ValueError:
            wanted = b""
        found = (
            self._journal(lambda t: t.row(ContentDocument, metadata_hash=wanted))
            if len(wanted) == 32
            else None
        )
        if found is None:
            raise Problem("no_such_row", "No content has metadata of this hash.")
        answer = Response(found.metadata, mimetype="application/json")
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        answer.headers["ETag"] = f'"{digest}"'
        return answer

    def _content(self, name: str) -> RowOf:
        found = self._journal(lambda t: t.row(Content, content=name))
        if found is None:
            raise Problem("no_such_row", f"There is no content {name[:60]!r} for sale.")
        return found  # type: ignore[no-any-return]

    def _journal(self, ask: Any) -> Any:
        return reads.read(self._service.engine, lambda c: ask(ReadTables(c, SOURCE)))


def _made(
    service: Service, checkout: CheckoutOptions, asked: SessionRequest, key: str
) -> CheckoutSession:
    """Make the session of a purchase, or return the one that it has."""
    assert service.writer is not None
    try:
        return create_session(checkout.client, service.writer, asked, key=key)
    except PaymentsAway as error:
        raise Problem("node_unavailable", str(error)) from None
    except PaymentRefused as error:
        raise Problem("bad_arguments", str(error), problems=[str(error)]) from None


def _purchase_id(tenant: str, key: str) -> str:
    """The id of what an account asks for under a key: 16 bytes, the same each time."""
    digest = hashlib.sha256(f"{NAME}\0{tenant}\0{key}".encode()).hexdigest()
    return f"0x{digest[:32]}"
