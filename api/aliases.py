"""Routes under the names that clients of the platforms before this one know.

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
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from sqlalchemy import Connection

from api.auth.principal import current_principal
from api.command_answers import json_answer
from api.errors import Problem
from api.parameters import value_of
from api.service import PREFIX, Service
from api.writes import require_intake
from commands.errors import NodeAway
from db import reads, sources
from db.domains.crowdfunding.projections import Certificate, Investment
from db.reads.tables import ReadTables


def aliases_blueprint(service: Service) -> Blueprint:
    """Every route of this module."""
    blueprint = Blueprint(
        "aliases", __name__, url_prefix=PREFIX, description="Other names for routes."
    )
    routes = _Routes(service)
    for rule, method, view in (
        ("/issuers/<issuer>/blockchain", "GET", routes.issuer),
        ("/campaigns/<campaign>/status", "GET", routes.campaign),
        ("/investments/my", "GET", routes.own_investments),
        ("/investments/<investment>/nft", "GET", routes.certificate),
        ("/blockchain/health", "GET", routes.health),
        ("/blockchain/network-info", "GET", routes.network),
        ("/blockchain/test-connection", "POST", routes.connection),
    ):
        documented = blueprint.doc(
            summary=view.__doc__,
            operationId=f"alias_{view.__name__}",
            responses={"default": {"$ref": "#/components/responses/Problem"}},
        )(view)
        blueprint.add_url_rule(
            rule, view.__name__, documented, methods=[method], strict_slashes=False
        )
    return blueprint


class _Routes:
    """The views, with what they need."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def issuer(self, issuer: str) -> Response:
        """Where the issuer's row is."""
        return _there("issuers.get_issuers", issuer=issuer)

    def campaign(self, campaign: str) -> Response:
        """Where the campaign's row is."""
        return _there("campaigns.get_campaigns", campaign=campaign)

    def own_investments(self) -> Response:
        """Where the investments of one's own wallet are."""
        principal = current_principal(self._service)
        wallets = sorted("0x" + wallet.hex() for wallet in principal.wallets)
        wanted = request.args.get("wallet", wallets[0] if len(wallets) == 1 else "")
        if wanted.lower() not in wallets:
            raise Problem(
                "bad_parameter",
                "wallet: say which of your linked wallets, with ?wallet=: "
                f"{', '.join(wallets) or 'none yet, link one with /auth/wallets'}.",
                choices=wallets,
            )
        return _there("investments.list_investments", investor=wanted.lower())

    def certificate(self, investment: str) -> Response:
        """Where the certificate is that covers an investment."""
        intake = require_intake(self._service)
        column = reads.row_columns(Investment.spec)["investment"]
        key = value_of(column, "investment", investment)

        def look(connection: Connection) -> int | None:
            tables = ReadTables(connection, intake.source, plan=intake.plan)
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
        intake = require_intake(self._service)
        row = reads.read(
            self._service.engine, lambda c: sources.by_id(c, intake.source)
        )
        try:
            head: int | None = intake.node.head()
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
        intake = require_intake(self._service)
        row = reads.read(
            self._service.engine, lambda c: sources.by_id(c, intake.source)
        )
        contracts = {
            name: "0x" + address.hex()
            for name, address in sorted(intake.addresses.items())
        }
        content = {"chain": row.name, "chain_id": row.chain_id, "contracts": contracts}
        return json_answer({"data": content})


def _there(endpoint: str, **values: Any) -> Response:
    return Response(status=307, headers={"Location": url_for(endpoint, **values)})
