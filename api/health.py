"""Whether this process lives, and whether it should be sent requests."""

from collections.abc import Iterator

from flask import Blueprint, Response

from api.errors import problem_response
from api.index import status_of
from api.json_answers import json_answer
from api.service import Service
from db.diagnosis import Ailment, Diagnosis, diagnose
from db.fit import examine
from db.reads import DatabaseAway, ReadError, read


def health_blueprint(service: Service, instance: str = "") -> Blueprint:
    """`/health/live` and `/health/ready`.

    `instance`, if given, is told by `/health/live`: whoever started the server knows by
    it that the answer is not another server's.
    """
    blueprint = Blueprint("health", __name__)
    alive = {"status": "live", **({"instance": instance} if instance else {})}

    def live() -> Response:
        """The process answers; nothing else is asked."""
        return json_answer(alive)

    def ready() -> Response:
        """Every chain is followed and moves; the tables are of these declarations."""
        causes = list(_causes(service))
        if causes:
            return problem_response("not_ready", " ".join(causes), causes=causes)
        return json_answer({"status": "ready"})

    blueprint.add_url_rule("/health/live", view_func=live)
    blueprint.add_url_rule("/health/ready", view_func=ready)
    return blueprint


def _causes(service: Service) -> Iterator[str]:
    try:
        yield from _database_causes(service)
    except DatabaseAway as error:
        yield f"{Ailment.DATABASE_DOWN}: {error}"
    except ReadError as error:
        yield str(error)


def _database_causes(service: Service) -> Iterator[str]:
    message = read(service.engine, lambda c: examine(c, service.registry)).message
    if message:
        yield message[0].upper() + message[1:]
    for name in service.chains.awaited():
        yield f"Chain {name} has never been followed. Start the indexer."
    chains = service.chains.all()
    if not chains and not service.chains.awaited():
        yield "No chain has ever been followed. Start the indexer."
    for chain in chains.values():
        status = status_of(service, chain)
        found = diagnose(status)
        if status.state == "new" and status.silent_seconds is None:
            yield f"Chain {status.name} is new. Start the indexer."
        elif not found.well:
            cause = found.cause.rstrip(".")
            yield f"Chain {status.name}: {found.ailment}: {cause}. {_said(found)}"


def _said(found: Diagnosis) -> str:
    return f"{found.remedy[0].upper()}{found.remedy[1:]}."
