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

from collections.abc import Iterable

from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]
from prometheus_client.registry import Collector

from api.console.reports import ConsolePage
from api.service import PREFIX, Service
from db.domains.settlement.routes.checkout import (
    ASKED,
    BREAKDOWN,
    DOCUMENT,
    SESSION,
    Checkout,
)
from db.domains.settlement.routes.described import described
from db.domains.settlement.routes.treasury import (
    TREASURY,
    Treasury,
    TreasuryCollector,
)


def add_routes(api: Api, service: Service) -> None:
    """Add the routes of the domain, as far as the API has what they need."""
    checkout, treasury = Checkout(service), Treasury(service)
    blueprint = Blueprint(
        "settlement", __name__, description="Buy from creators; the treasury."
    )
    documents = {"schema": {"type": "string"}, "in": "path", "required": True}
    for name, method, paths, view, said in (
        (
            "session", "POST", ("/checkout/session", "/checkout/create"),
            checkout.session, described(checkout.session, SESSION, asked=ASKED),
        ),
        (
            "breakdown", "GET", ("/checkout/fee-breakdown",),
            checkout.breakdown, described(checkout.breakdown, BREAKDOWN),
        ),
        (
            "treasury", "GET", ("/admin/treasury", "/staff/treasury"),
            treasury.show, described(treasury.show, TREASURY, signed_in=True),
        ),
    ):  # fmt: skip
        if name == "session" and (service.checkout is None or service.writer is None):
            continue  # cards are not taken: [stripe] has no success_url
        for number, path in enumerate(
            (f"{PREFIX}{paths[0]}", *map("/api{}".format, paths))
        ):
            own = said | {"operationId": f"settlement_{name}_{number}"}
            blueprint.add_url_rule(
                path, f"{name}_{number}", blueprint.doc(**own)(view), methods=[method],
                strict_slashes=False,
            )  # fmt: skip
    shown = described(checkout.metadata, DOCUMENT)
    shown["parameters"] = [{"name": "document", **documents}]
    blueprint.add_url_rule(
        "/metadata/<document>", "metadata", blueprint.doc(**shown)(checkout.metadata)
    )
    api.register_blueprint(blueprint)


def metric_collectors(service: Service) -> Iterable[Collector]:
    """Return the metrics of the domain: the treasury's, where there is one."""
    return () if service.command_service is None else (TreasuryCollector(service),)


def console_pages(service: Service) -> Iterable[ConsolePage]:
    """Return the pages of the domain in the console: the treasury's."""
    page = ConsolePage(
        "treasury", "Treasury", Treasury(service).report, old_path="/admin/treasury"
    )
    return (page,)
