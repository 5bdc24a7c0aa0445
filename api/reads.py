"""Routes that read: lists and rows of every projection, facts of every event."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api import schemas
from api.answers import not_modified, page_answer, row_answer, tag_of
from api.chains import Chain
from api.errors import Problem
from api.parameters import Query, read_query, usable, value_of
from api.service import PREFIX, Service
from db import reads
from db.declare import Event
from db.declare.projections import ProjectionSpec
from db.status import Mark, read_mark


def read_blueprint(service: Service, spec: ProjectionSpec) -> Blueprint:
    """`GET /<plural>` and `GET /<plural>/<key>…` of one projection."""
    blueprint = _blueprint(spec.plural, spec.doc)
    filters, sorts = usable(reads.row_filters(spec)), reads.sortable(spec)
    columns = reads.row_columns(spec)
    keys = {key: columns[key] for key in spec.keys}
    read = _Resource(service, spec.plural, [e.spec.id for e in spec.events])
    version = reads.row_version(spec)

    def list_rows() -> Response:
        query = read.query(filters, sorts)
        chain = service.chains.choose(query.chain)
        known = not_modified(lambda: read.mark(chain, query.as_of), version)
        if known is not None:
            return known
        page = reads.read(
            service.engine,
            lambda connection: reads.select_rows(
                connection, spec, chain.id, plan=chain.plan, **_asked(query)
            ),
        )
        tag = tag_of(page.block, version, page.built_at)
        return page_answer(page.data, page.block, page.next, tag)

    def get_row(**path: str) -> Response:
        query = read.query(None)
        values = {name: value_of(c, name, path[name]) for name, c in keys.items()}
        chain = service.chains.choose(query.chain)
        known = not_modified(lambda: read.mark(chain, query.as_of), version)
        if known is not None:
            return known
        row = reads.read(
            service.engine,
            lambda connection: reads.select_row(
                connection, spec, chain.id, values, as_of=query.as_of, plan=chain.plan
            ),
        )
        if row.data is None:
            raise Problem(
                "no_such_row",
                f"No {spec.name} has these keys at block {row.block.height} of "
                f"{row.block.chain}. Check them, or ask again after the next block.",
                block=row.block.as_json(),
            )
        tag = tag_of(row.block, version, row.built_at)
        return row_answer(row.data, row.block, tag)

    _add(
        blueprint, f"/{spec.plural}", f"list_{spec.plural}", list_rows,
        summary=f"{spec.name} rows", answer=f"{spec.name}Page",
        parameters=_parameters(service, filters, sorts),
    )  # fmt: skip
    path = "/".join(f"<{key}>" for key in keys)
    _add(
        blueprint, f"/{spec.plural}/{path}", f"get_{spec.plural}", get_row,
        summary=f"One {spec.name}", answer=f"{spec.name}Answer",
        parameters=_parameters(service, None, ()), path=schemas.path_parameters(keys),
    )  # fmt: skip
    return blueprint


def facts_blueprint(service: Service, event: type[Event]) -> Blueprint:
    """`GET /events/<table>` of one event."""
    spec = event.spec
    blueprint = _blueprint(f"event_{spec.table}", spec.doc)
    projections = [p.spec for p in service.registry.projections.values()]
    filters = usable(reads.fact_filters(event, projections))
    read = _Resource(service, "", [spec.id])
    version = reads.fact_version(event)

    def list_facts() -> Response:
        query = read.query(filters, ["position"])
        chain = service.chains.choose(query.chain)
        known = not_modified(lambda: read.mark(chain, query.as_of), version)
        if known is not None:
            return known
        asked = _asked(query)
        del asked["order"]  # there is only one
        page = reads.read(
            service.engine,
            lambda connection: reads.select_facts(
                connection, event, chain.id, plan=chain.plan, **asked
            ),
        )
        tag = tag_of(page.block, version, page.built_at)
        return page_answer(page.data, page.block, page.next, tag)

    _add(
        blueprint, f"/events/{spec.table}", f"facts_{spec.table}", list_facts,
        summary=f"{spec.name} facts", answer=f"{spec.table}_page",
        parameters=_parameters(service, filters, ["position"]),
    )  # fmt: skip
    return blueprint


def components(service: Service) -> dict[str, schemas.Schema]:
    """The schemas that the routes' answers refer to, by name."""
    found: dict[str, schemas.Schema] = {
        "Block": schemas.BLOCK, "Problem": schemas.PROBLEM,
    }  # fmt: skip
    for projection in service.registry.projections.values():
        name = projection.spec.name
        found[name] = schemas.row_schema(projection.spec)
        found[f"{name}Page"] = schemas.answer_schema(name, many=True)
        found[f"{name}Answer"] = schemas.answer_schema(name, many=False)
    for event in service.registry.events.values():
        name = event.spec.table
        found[name] = schemas.fact_schema(event)
        found[f"{name}_page"] = schemas.answer_schema(name, many=True)
    return found


class _Resource:
    """What the routes of one projection or event have in common."""

    def __init__(self, service: Service, relation: str, events: Sequence[str]) -> None:
        self._service = service
        self._relation = relation
        self._events = events

    def query(
        self, filters: Mapping[str, reads.Column] | None, sorts: Sequence[str] = ()
    ) -> Query:
        """What the request asks for."""
        return read_query(
            request.args,
            filters=filters,
            sorts=sorts,
            page_size=self._service.page_size,
            page_size_max=self._service.page_size_max,
        )

    def mark(self, chain: Chain, as_of: int | None) -> Mark:
        """How far the events are read, and nothing else."""
        return reads.read(
            self._service.engine,
            lambda connection: read_mark(
                connection, chain.id, self._events, chain.plan,
                as_of=as_of, relation=self._relation,
            ),
        )  # fmt: skip


def _asked(query: Query) -> dict[str, Any]:
    return {
        "where": query.where, "order": query.order, "descending": query.descending,
        "after": query.after, "limit": query.limit, "as_of": query.as_of,
    }  # fmt: skip


def _blueprint(name: str, doc: str) -> Blueprint:
    first_line = doc.split("\n", 1)[0]
    return Blueprint(name, __name__, url_prefix=PREFIX, description=first_line)


def _parameters(
    service: Service, filters: Mapping[str, reads.Column] | None, sorts: Sequence[str]
) -> list[schemas.Schema]:
    return schemas.parameters(filters, sorts, service.page_size, service.page_size_max)


def _add(
    blueprint: Blueprint,
    rule: str,
    endpoint: str,
    view: Callable[..., Response],
    *,
    summary: str,
    answer: str,
    parameters: list[schemas.Schema],
    path: list[schemas.Schema] | None = None,
) -> None:
    """Register a route with its entry in the OpenAPI document."""
    reference = {"$ref": f"#/components/schemas/{answer}"}
    documented = blueprint.doc(
        summary=summary,
        description=blueprint.description,
        operationId=endpoint,
        parameters=parameters,
        responses={
            "200": {
                "description": "True at `block`.",
                "content": {"application/json": {"schema": reference}},
            },
            "304": {"description": "The client has this answer already."},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    )(view)
    blueprint.add_url_rule(rule, endpoint, documented, parameters=path)
