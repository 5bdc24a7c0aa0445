"""The index of the API: its resources, and the chains they are read from."""

from typing import Any

from flask import Blueprint, Response

from api.chains import ServedChain
from api.json_answers import json_answer
from api.parameters import usable
from api.service import PREFIX, Service
from db import reads
from db.declare import Event
from db.declare.projections import ProjectionSpec
from db.declare.times import time_text
from db.diagnosis import diagnose
from db.status import ChainStatus, chain_status


def index_blueprint(service: Service) -> Blueprint:
    """`GET /api/v1/` and `GET /api/v1/chains`."""
    blueprint = Blueprint("index", __name__, url_prefix=PREFIX)
    content = _index(service)

    def show_index() -> Response:
        """List the resources that can be read."""
        return json_answer(content, cache="no-cache")

    def list_chains() -> Response:
        """List the chains with their progress and faults."""
        found = [
            status_of(service, chain)
            for chain in service.chains.all(fresh=True).values()
        ]
        return json_answer(
            {"data": [_chain(status) for status in found]}, cache="no-cache"
        )

    blueprint.add_url_rule("/", view_func=show_index)
    blueprint.add_url_rule("/chains", view_func=list_chains)
    return blueprint


def status_of(service: Service, chain: ServedChain) -> ChainStatus:
    """The status of a chain, read now."""
    return reads.read(
        service.engine,
        lambda connection: chain_status(connection, chain.id, chain.plan),
    )


def _index(service: Service) -> dict[str, Any]:
    projections = [p.spec for p in service.registry.projections.values()]
    return {
        "name": "Chainfold",
        "docs": "/docs",
        "openapi": f"{PREFIX}/openapi.json",
        "chains": f"{PREFIX}/chains",
        "projections": [_projection(spec) for spec in projections],
        "events": [
            _event(event, projections) for event in service.registry.events.values()
        ],
    }


def _projection(spec: ProjectionSpec) -> dict[str, Any]:
    return {
        "name": spec.plural,
        "domain": spec.domain,
        "about": spec.doc.split("\n", 1)[0],
        "url": f"{PREFIX}/{spec.plural}",
        "readable_by": spec.readable_by,
        "owned_by": spec.owned_by,
        "keys": list(spec.keys),
        "columns": list(reads.row_columns(spec)),
        "filters": list(usable(reads.row_filters(spec))),
        "sorts": reads.sortable(spec),
        "sort": reads.default_sort(spec),
    }


def _event(event: type[Event], projections: list[ProjectionSpec]) -> dict[str, Any]:
    return {
        "name": event.spec.table,
        "domain": event.spec.domain,
        "contract": event.spec.source.name,
        "about": event.spec.doc.split("\n", 1)[0],
        "url": f"{PREFIX}/events/{event.spec.table}",
        "readable_by": event.spec.readable_by,
        "owned_by": event.spec.owned_by,
        "columns": list(reads.fact_columns(event)),
        "filters": list(usable(reads.fact_filters(event, projections))),
    }


def _chain(status: ChainStatus) -> dict[str, Any]:
    polled, head = status.polled_at, status.head_time
    return {
        "name": status.name,
        "chain_id": status.chain_id,
        "head": status.head,
        "head_time": None if head is None else time_text(head),
        "final": status.final,
        "checkpoint": status.checkpoint,
        "lag_blocks": status.lag_blocks,
        "gaps": [[gap.first, gap.last] for gap in status.gaps],
        "state": status.state,
        "cause": status.cause,
        "ailment": diagnose(status).ailment,
        "incidents": list(status.incidents),
        "proof": None if status.proof is None else status.proof.as_json(),
        "undecodable": status.undecodable,
        "mended": status.mended,
        "polled_at": polled,
        "followed": status.followed_by is not None,
    }
