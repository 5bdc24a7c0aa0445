"""Whether this process lives, and whether it should be sent requests."""

from collections.abc import Iterator

import orjson
from flask import Blueprint, Response

from api.errors import problem_response
from api.index import status_of
from api.service import Service
from db.reads import ReadError, read
from db.status import stale_declarations

NOT_FOLLOWED = ("new", "stopped")


def health_blueprint(service: Service) -> Blueprint:
    """`/health/live` and `/health/ready`."""
    blueprint = Blueprint("health", __name__)

    def live() -> Response:
        """The process answers; nothing else is asked."""
        return _json({"status": "live"})

    def ready() -> Response:
        """Every chain is followed, and the tables are those of these declarations."""
        causes = list(_causes(service))
        if causes:
            return problem_response("not_ready", " ".join(causes), causes=causes)
        return _json({"status": "ready"})

    blueprint.add_url_rule("/health/live", view_func=live)
    blueprint.add_url_rule("/health/ready", view_func=ready)
    return blueprint


def _causes(service: Service) -> Iterator[str]:
    try:
        yield from _database_causes(service)
    except ReadError as error:
        yield str(error)


def _database_causes(service: Service) -> Iterator[str]:
    stale = read(service.engine, lambda c: stale_declarations(c, service.registry))
    if stale:
        shown = ", ".join(stale[:5]) + (", …" if len(stale) > 5 else "")
        yield (
            f"The tables were not built from these declarations: {shown}. "
            "Run `chainfold migrate` with this version."
        )
    for name in service.chains.awaited():
        yield f"Chain {name} has never been followed. Start the indexer."
    chains = service.chains.all()
    if not chains and not service.chains.awaited():
        yield "No chain has ever been followed. Start the indexer."
    for chain in chains.values():
        status = status_of(service, chain)
        if status.state in NOT_FOLLOWED:
            cause = f": {status.cause}" if status.cause else ""
            yield f"Chain {status.name} is {status.state}{cause}."
        elif status.followed_by is None:
            yield f"Chain {status.name} is followed by no process. Start the indexer."


def _json(content: dict[str, str]) -> Response:
    answer = Response(orjson.dumps(content), mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store"
    return answer
