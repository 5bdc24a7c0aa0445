"""Routes of settlement besides those of its tables and commands.

    POST /checkout/session            begin to buy: a page of Stripe's to pay at
    GET  /checkout/fee-breakdown      what the buyer of a price pays, and for what
    GET  /metadata/<hash>.json        the document of an NFT, whose hash is on the chain
    GET  /admin/treasury              what the treasury has paid out, and for how long
                                      it lasts

Those known to clients of the platform before this one answer at their old spelling too:
`/api/checkout/session/`, `/api/checkout/create/`, `/api/checkout/fee-breakdown/`,
`/api/admin/treasury/` and `/api/staff/treasury/`.
"""

import hashlib
import time
from typing import Any

from flask import Response, request
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]

from api.auth.principal import current_principal, require_role
from api.auth.routes import SIGNED_IN, shape
from api.command_problems import as_problems
from api.console.reports import ConsolePage
from api.errors import Problem
from api.idempotency import alone_with, idempotency_key
from api.json_answers import json_answer
from api.schemas import Schema
from api.service import PREFIX, Service
from api.writes import KEY_HEADER, actor_of, body_of_request, require_command_service
from commands.errors import NodeAway
from commands.lane import Lane, NoContract, NoSigner
from commands.solana.lane import SolanaLane
from commands.stripe.asking import PaymentRefused, PaymentsAway
from commands.stripe.checkout import (
    CheckoutOptions,
    CheckoutSession,
    SessionRequest,
    create_session,
)
from commands.submit import Submission
from db import reads
from db.declare import STAFF, RowOf
from db.declare.reports import ReportPage
from db.domains.settlement import money, treasury
from db.domains.settlement.charges import debts_as_json
from db.domains.settlement.commands import SettlePurchase, StartPurchase
from db.domains.settlement.projections import (
    NAME,
    AccountDay,
    Content,
    ContentDocument,
    Debt,
    PaidDay,
    SettledDay,
    TreasuryWeek,
)
from db.domains.settlement.reports import TreasuryRows, treasury_report
from db.domains.settlement.roles import BUYER
from db.domains.settlement.treasury import TreasuryState
from db.journal.head import SOURCE
from db.reads.tables import ReadTables

_CENTS: Schema = {"type": "integer", "minimum": 0}
_MICRO: Schema = {"type": "string", "pattern": "^-?[0-9]+$"}
_PURCHASE: Schema = {"type": "string", "pattern": "^0x[0-9a-f]{32}$"}
SESSION = shape(
    data=shape(
        purchase=_PURCHASE, session={"type": "string"}, url={"type": "string"},
        price=_CENTS, total=_CENTS,
    )
)  # fmt: skip
BREAKDOWN = shape(
    data=shape(
        price=_CENTS, total=_CENTS, card_fee=_CENTS, distributable=_MICRO,
        platform_fee=_MICRO, creator_pool=_MICRO,
    )
)  # fmt: skip
DEBTS = shape(
    number=_CENTS, owed=_CENTS,
    payments={
        "type": "array",
        "items": shape(
            purchase=_PURCHASE, charge={"type": "string"}, owed=_CENTS,
            owed_for={"type": "object", "additionalProperties": _CENTS},
        ),
    },
)  # fmt: skip
TREASURY = shape(
    data=shape(
        chain={"type": "string"}, purchases=_CENTS, fronted=_MICRO, earned=_MICRO,
        outflow=_MICRO, balance={"type": ["string", "null"]},
        daily_outflow=_MICRO, runway_days={"type": ["number", "null"]},
        health={"enum": list(treasury.LEVELS)}, debts=DEBTS,
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


def add_routes(api: Api, service: Service) -> None:
    """Add the routes of the domain, as far as the API has what they need."""
    routes = _Routes(service)
    blueprint = Blueprint(
        "settlement", __name__, description="Buy from creators; the treasury."
    )
    documents = {"schema": {"type": "string"}, "in": "path", "required": True}
    for name, method, paths, described in (
        (
            "session", "POST", ("/checkout/session", "/checkout/create"),
            _described(routes.session, SESSION, asked=ASKED),
        ),
        (
            "breakdown", "GET", ("/checkout/fee-breakdown",),
            _described(routes.breakdown, BREAKDOWN),
        ),
        (
            "treasury", "GET", ("/admin/treasury", "/staff/treasury"),
            _described(routes.treasury, TREASURY, signed_in=True),
        ),
    ):  # fmt: skip
        if name == "session" and (service.checkout is None or service.writer is None):
            continue  # cards are not taken: [stripe] has no success_url
        for number, path in enumerate(
            (f"{PREFIX}{paths[0]}", *map("/api{}".format, paths))
        ):
            own = described | {"operationId": f"settlement_{name}_{number}"}
            view = blueprint.doc(**own)(getattr(routes, name))
            blueprint.add_url_rule(
                path, f"{name}_{number}", view, methods=[method], strict_slashes=False
            )
    shown = _described(routes.metadata, DOCUMENT)
    shown["parameters"] = [{"name": "document", **documents}]
    blueprint.add_url_rule(
        "/metadata/<document>", "metadata", blueprint.doc(**shown)(routes.metadata)
    )
    api.register_blueprint(blueprint)


def console_pages(service: Service) -> tuple[ConsolePage, ...]:
    """The pages of the domain in the console: the treasury, where there is one."""
    if service.command_service is None:
        return ()
    return (ConsolePage("treasury", "Treasury", _Routes(service).report),)


class _Routes:
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

    def treasury(self) -> Response:
        """Tell what the treasury fronted and earned, and for how long it lasts.

        Amounts are in micro-USDC. Runway is the balance by what left on an average day
        of the last seven. `debts` are payments that were settled and whose money went
        back, in cents, the greatest hundred by name.
        """
        principal = current_principal(self._service)
        require_role(principal, *STAFF)
        lane = self._treasury_lane(request.args.get("chain"))
        found = self._treasury_state(lane, self._settled(lane))
        debts = debts_as_json(self._journal(lambda t: t.rows(Debt, stage="debt")))
        return json_answer(
            {"data": {"chain": lane.name, **found.as_json(), "debts": debts}}
        )

    def report(self) -> ReportPage:
        """Return the page of the treasury in the console."""
        lane = self._treasury_lane(None)
        settled = self._settled(lane)
        account = (
            lane.places.accounts.get("treasury")
            if isinstance(lane, SolanaLane)
            else None
        )
        balances = (
            []
            if account is None
            else self._of_chain(lane, lambda t: t.rows(AccountDay, account=account))
        )
        return treasury_report(
            TreasuryRows(
                state=self._treasury_state(lane, settled),
                settled=settled,
                paid=self._journal(lambda t: t.rows(PaidDay)),
                balances=balances,
                weeks=self._journal(lambda t: t.rows(TreasuryWeek)),
                today=_today(),
            )
        )

    def _treasury_lane(self, chain: str | None) -> Lane:
        """Return the lane of the treasury's signer."""
        commands = require_command_service(self._service)
        with as_problems():
            try:
                return commands.lane_for(SettlePurchase.spec, chain)
            except NoSigner as error:
                raise Problem(
                    "no_such_row", f"There is no treasury: {error}."
                ) from None

    def _treasury_state(self, lane: Lane, settled: list[RowOf]) -> TreasuryState:
        return treasury.state(settled, _today(), _balance(lane))

    def _settled(self, lane: Lane) -> list[RowOf]:
        found: list[RowOf] = self._of_chain(lane, lambda t: t.rows(SettledDay))
        return found

    def _of_chain(self, lane: Lane, ask: Any) -> Any:
        return reads.read(
            self._service.engine,
            lambda c: ask(ReadTables(c, lane.source, plan=lane.plan)),
        )

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


def _today() -> int:
    """Return the beginning of the current day (UTC), in seconds since 1970."""
    return int(time.time()) // treasury.DAY_SECONDS * treasury.DAY_SECONDS


def _balance(lane: Lane) -> int | None:
    """Return what the treasury holds, in micro-USDC; None while no node tells."""
    try:
        return lane.token_balance("treasury") if isinstance(lane, SolanaLane) else None
    except (NodeAway, NoContract):
        return None


def _purchase_id(tenant: str, key: str) -> str:
    """The id of what an account asks for under a key: 16 bytes, the same each time."""
    digest = hashlib.sha256(f"{NAME}\0{tenant}\0{key}".encode()).hexdigest()
    return f"0x{digest[:32]}"


def _described(
    view: Any, schema: Schema, *, asked: Schema | None = None, signed_in: bool = False
) -> dict[str, Any]:
    status = "201" if asked else "200"
    content = {"application/json": {"schema": schema}}
    summary, _, rest = (view.__doc__ or "").partition("\n")
    return {
        "summary": summary.strip(),
        "description": " ".join(rest.split()),
        "operationId": f"settlement_{view.__name__}",
        "security": SIGNED_IN if asked or signed_in else [],
        **({"requestBody": asked, "parameters": [KEY_HEADER]} if asked else {}),
        "responses": {
            status: {"description": "As asked.", "content": content},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
