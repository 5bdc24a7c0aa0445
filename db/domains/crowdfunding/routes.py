"""Routes of crowdfunding besides those of its tables and commands.

Under `/issuers/kyc` issuers and investors hand in documents (`api.documents`). The
others are known to clients of the platforms before this one:

    GET  /issuers/<issuer>/blockchain      where the issuer's row is
    GET  /campaigns/<campaign>/status      where the campaign's row is
    GET  /investments/my                   where the investments of one's wallet are
    GET  /investments/<investment>/nft     where its certificate is
    GET  /blockchain/health                whether the chain's node answers
    GET  /blockchain/network-info          the chain, and where the contracts are
    POST /blockchain/test-connection       the same as health, asked on purpose

The first four answer with the place (307): there is one route for each thing.
"""

from typing import Any

from flask import Response, request, url_for
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]
from sqlalchemy import Connection

from api.auth.principal import current_principal
from api.auth.routes import SIGNED_IN, shape
from api.documents import documents_blueprint
from api.errors import Problem
from api.json_answers import json_answer
from api.parameters import value_of
from api.schemas import Schema
from api.service import PREFIX, Service
from api.writes import lane_asked
from commands.errors import NodeAway
from db import reads, sources
from db.domains.crowdfunding.projections import Certificate, Investment
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from db.reads.tables import ReadTables

_HEIGHT: Schema = {"type": ["integer", "null"], "minimum": 0}
_ADDRESS: Schema = {"type": "string", "pattern": "^0x[0-9a-f]{40}$"}
WALLET: Schema = {
    "in": "query", "name": "wallet", "description": "Which of one's linked wallets.",
    "schema": {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"},
}  # fmt: skip


def _data(description: str, **properties: Schema) -> Schema:
    """An answer whose data has these members."""
    schema = shape(data=shape(**properties))
    content = {"application/json": {"schema": schema}}
    return {"description": description, "content": content}


_CHAIN = {
    "chain": {"type": "string"}, "connected": {"type": "boolean"}, "head": _HEIGHT,
    "indexed_head": _HEIGHT, "final": _HEIGHT,
}  # fmt: skip
HEALTH: Schema = {
    "200": _data("The node answers.", **_CHAIN),
    "503": _data("The node does not answer.", **_CHAIN),
}
NETWORK: Schema = {
    "200": _data(
        "The chain of the commands.",
        chain={"type": "string"},
        chain_id={"type": "string", "description": "As CAIP-2 has it."},
        contracts={"type": "object", "additionalProperties": _ADDRESS},
    )
}
THERE: Schema = {
    "307": {
        "description": "It is there.",
        "headers": {"Location": {"schema": {"type": "string"}, "required": True}},
    }
}


def add_routes(api: Api, service: Service) -> None:
    """Add the routes of the domain, as far as the API has what they need."""
    if service.command_service is not None:
        api.register_blueprint(_aliases(service))
    if service.documents is not None:
        documents = documents_blueprint(
            service, service.documents, path="/issuers/kyc", owners=(ISSUER, INVESTOR)
        )
        api.register_blueprint(documents)


def _aliases(service: Service) -> Blueprint:
    blueprint = Blueprint(
        "aliases", __name__, url_prefix=PREFIX, description="Other names for routes."
    )
    routes = _Routes(service)
    for rule, method, view, answers in (
        ("/issuers/<issuer>/blockchain", "GET", routes.issuer, THERE),
        ("/campaigns/<campaign>/status", "GET", routes.campaign, THERE),
        ("/investments/my", "GET", routes.own_investments, THERE),
        ("/investments/<investment>/nft", "GET", routes.certificate, THERE),
        ("/blockchain/health", "GET", routes.health, HEALTH),
        ("/blockchain/network-info", "GET", routes.network, NETWORK),
        ("/blockchain/test-connection", "POST", routes.connection, HEALTH),
    ):
        own = view == routes.own_investments
        documented = blueprint.doc(
            summary=view.__doc__,
            operationId=f"alias_{view.__name__}",
            security=SIGNED_IN if own else [],
            parameters=[WALLET] if own else [],
            responses={
                **answers, "default": {"$ref": "#/components/responses/Problem"},
            },
        )(view)  # fmt: skip
        blueprint.add_url_rule(
            rule, view.__name__, documented, methods=[method], strict_slashes=False
        )
    return blueprint


class _Routes:
    """The views, with what they need."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def issuer(self, issuer: str) -> Response:
        """Redirect to the issuer's row."""
        return _there("issuers.get_issuers", issuer=issuer)

    def campaign(self, campaign: str) -> Response:
        """Redirect to the campaign's row."""
        return _there("campaigns.get_campaigns", campaign=campaign)

    def own_investments(self) -> Response:
        """Redirect to the investments of the caller's own wallet."""
        principal = current_principal(self._service)
        wallets = ["0x" + each.hex() for each in principal.wallets_of("evm")]
        wanted = request.args.get("wallet", wallets[0] if len(wallets) == 1 else "")
        if wanted.lower() not in wallets:
            raise Problem(
                "bad_parameter",
                "wallet: name one of your linked wallets with ?wallet=: "
                f"{', '.join(wallets) or 'none yet, link one with /auth/wallets'}.",
                choices=wallets,
            )
        return _there("investments.list_investments", investor=wanted.lower())

    def certificate(self, investment: str) -> Response:
        """Redirect to the certificate that covers an investment."""
        lane = lane_asked(self._service, "crowdfunding")
        column = reads.row_columns(Investment.spec)["investment"]
        key = value_of(column, "investment", investment)

        def look(connection: Connection) -> int | None:
            tables = ReadTables(connection, lane.source, plan=lane.plan)
            paid = tables.row(Investment, investment=key)
            if paid is None:
                return None
            for each in tables.rows(Certificate, campaign=paid.campaign):
                if each.issued_to == paid.investor:
                    return int(each.certificate)
            return None

        number = reads.read(self._service.engine, look)
        if number is None:
            raise Problem(
                "no_such_row",
                "No certificate covers this investment yet. Check its id, or ask again "
                "once the campaign has ended.",
            )
        return _there("certificates.get_certificates", certificate=str(number))

    def health(self) -> Response:
        """Whether the chain's node answers, and how far the index is behind it."""
        lane = lane_asked(self._service, "crowdfunding")
        row = reads.read(self._service.engine, lambda c: sources.by_id(c, lane.source))
        try:
            head: int | None = lane.head()
        except NodeAway:
            head = None
        content = {
            "chain": row.name,
            "connected": head is not None,
            "head": head,
            "indexed_head": row.head,
            "final": row.final,
        }
        answer = json_answer({"data": content})
        answer.status_code = 200 if head is not None else 503
        return answer

    def connection(self) -> Response:
        """The same as health, asked on purpose."""
        return self.health()

    def network(self) -> Response:
        """The chain, and where the contracts are."""
        lane = lane_asked(self._service, "crowdfunding")
        row = reads.read(self._service.engine, lambda c: sources.by_id(c, lane.source))
        contracts = {
            name: "0x" + address.hex()
            for name, address in sorted(lane.addresses.items())
        }
        content = {"chain": row.name, "chain_id": row.chain_id, "contracts": contracts}
        return json_answer({"data": content})


def _there(endpoint: str, **values: Any) -> Response:
    return Response(status=307, headers={"Location": url_for(endpoint, **values)})
