"""Routes that read: lists and rows of every projection, facts of every event."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from sqlalchemy import Connection

from api import schemas
from api.answers import CACHE, not_modified, page_answer, row_answer, tag_of
from api.auth.routes import SIGNED_IN
from api.chains import ServedChain
from api.errors import Problem
from api.owning import Portion, portion_of
from api.parameters import Query, read_query, usable, value_of
from api.service import PREFIX, Service
from db import reads
from db.declare import Event, Field
from db.declare.projections import ProjectionSpec
from db.declare.readers import Readers, readers

View = Callable[..., Response]
Select = Callable[..., reads.Page]  # a page of a list, on a connection


def read_blueprint(service: Service, spec: ProjectionSpec) -> Blueprint:
    """`GET /<plural>` and `GET /<plural>/<key>…` of one projection."""
    blueprint = _blueprint(spec.plural, spec.doc)
    resource = _Resource(
        service,
        relation=spec.plural,
        events=[event.spec.id for event in spec.events],
        filters=usable(reads.row_filters(spec)),
        raw_filters=usable(reads.row_filters(spec, in_units=False)),
        sorts=reads.sortable(spec),
        default_sorts=(
            reads.default_sort(spec), reads.default_sort(spec, past=True)
        ),
        indexed=None,
        version=reads.row_version(spec),
        readable_by=spec.readable_by,
        in_journal=spec.in_journal,
        owned_by=spec.owned_by,
        fields={name: c.field for name, c in reads.row_columns(spec).items()},
    )  # fmt: skip
    keys = {key: reads.row_columns(spec)[key] for key in spec.keys}
    path = "/".join(f"<{key}>" for key in keys)
    _add(
        blueprint, f"/{spec.plural}", f"list_{spec.plural}",
        _rows_view(resource, spec),
        summary=f"{spec.name} rows", answer=f"{spec.name}Page",
        parameters=resource.parameters(many=True),
        readable_by=spec.readable_by, owned_by=spec.owned_by,
    )  # fmt: skip
    _add(
        blueprint, f"/{spec.plural}/{path}", f"get_{spec.plural}",
        _row_view(resource, spec),
        summary=f"One {spec.name}", answer=f"{spec.name}Answer",
        parameters=resource.parameters(many=False), path=schemas.path_parameters(keys),
        readable_by=spec.readable_by, owned_by=spec.owned_by,
    )  # fmt: skip
    return blueprint


def facts_blueprint(service: Service, event: type[Event]) -> Blueprint:
    """`GET /events/<table>` of one event."""
    spec = event.spec
    blueprint = _blueprint(f"event_{spec.table}", spec.doc)
    projections = [p.spec for p in service.registry.projections.values()]
    resource = _Resource(
        service,
        relation="",
        events=[spec.id],
        filters=usable(reads.fact_filters(event, projections)),
        raw_filters=usable(reads.fact_filters(event, projections, in_units=False)),
        sorts=["position"],
        default_sorts=("-position", "-position"),
        indexed=frozenset(reads.indexed_filters(event, projections)),
        version=reads.fact_version(event),
        readable_by=spec.readable_by,
        in_journal=spec.in_journal,
        owned_by=spec.owned_by,
        fields=spec.fields,
    )
    _add(
        blueprint, f"/events/{spec.table}", f"facts_{spec.table}",
        _facts_view(resource, event),
        summary=f"{spec.name} facts", answer=f"{spec.table}_page",
        parameters=resource.parameters(many=True),
        readable_by=spec.readable_by, owned_by=spec.owned_by,
    )  # fmt: skip
    return blueprint


def components(service: Service) -> dict[str, schemas.Schema]:
    """The schemas that the routes' answers refer to, by name."""
    found: dict[str, schemas.Schema] = {
        "Block": schemas.BLOCK, "Meta": schemas.META, "Count": schemas.COUNT,
        "Scan": schemas.SCAN, "Problem": schemas.PROBLEM,
    }  # fmt: skip
    for projection in service.registry.projections.values():
        name = projection.spec.name
        found[name] = schemas.row_schema(projection.spec)
        found[f"{name}Page"] = schemas.answer_schema(name, many=True)
        found[f"{name}Answer"] = schemas.answer_schema(name, many=False)
    for event in service.registry.events.values():
        name = event.spec.table
        found[name] = schemas.fact_schema(event)
        found[f"{name}_page"] = schemas.answer_schema(name, many=True, scanned=True)
    return found


@dataclass(frozen=True, slots=True)
class _Resource:
    """The parts that all routes of one projection or event portion."""

    service: Service
    relation: str  # the projection's name, "" for an event
    events: Sequence[str]
    filters: Mapping[str, reads.Column]
    raw_filters: Mapping[str, reads.Column]
    sorts: Sequence[str]
    default_sorts: tuple[str, str]  # of the rows as they are, and as of a block
    indexed: frozenset[str] | None  # the fields that have an index; None: all filters
    version: str
    readable_by: Readers
    in_journal: bool
    owned_by: str | None
    fields: Mapping[str, Field]

    def admit(self) -> Portion:
        """Return the rows the caller may read; refuses who may read none."""
        return portion_of(self.service, self.readable_by, self.owned_by, self.fields)

    def chain(self, query: Query) -> ServedChain:
        """Return the chain that the request is about, or the journal."""
        return self.service.chains.choose(
            query.chain, in_journal=self.in_journal, events=self.events
        )

    def parameters(self, *, many: bool) -> list[schemas.Schema]:
        """Return the query parameters of the routes, for the OpenAPI document."""
        return schemas.parameters(
            self.filters if many else None,
            self.sorts,
            self.service.page_size,
            self.service.page_size_max,
            default_sorts=self.default_sorts,
            indexed=self.indexed,
        )

    def query(self, *, many: bool) -> Query:
        """Return the query of the request."""
        return read_query(
            request.args,
            filters=self.filters if many else None,
            raw_filters=self.raw_filters if many else None,
            sorts=self.sorts if many else (),
            default_sorts=self.default_sorts if many else (None, None),
            page_size=self.service.page_size,
            page_size_max=self.service.page_size_max,
        )

    def unchanged(
        self, chain: ServedChain, query: Query, portion: Portion
    ) -> Response | None:
        """A 304 when the client has the answer already."""

        def freshness() -> reads.Freshness:
            return reads.read(self.service.engine, read)

        def read(connection: Connection) -> reads.Freshness:
            about = (connection, chain.id, self.events, chain.plan)
            if query.as_of is None:
                return reads.read_freshness_again(*about, relation=self.relation)
            return reads.read_freshness(
                *about, as_of=query.as_of, relation=self.relation
            )

        return not_modified(freshness, portion.version(self.version))

    def page(self, found: reads.Page, portion: Portion) -> Response:
        """The answer that holds a page."""
        version = portion.version(self.version)
        tag = tag_of(found.block, version, found.built_at)
        return self.guarded(page_answer(found, tag))

    def guarded(self, answer: Response) -> Response:
        """Mark an answer as private unless everyone may read it."""
        if self.readable_by is not None:
            answer.headers["Cache-Control"] = f"private, {CACHE}"
            answer.vary.update(("Authorization", "X-API-Key"))
        return answer


def _list_view(resource: _Resource, select: Select) -> View:
    service = resource.service

    def list_page() -> Response:
        portion = resource.admit()
        query = resource.query(many=True)
        where = portion.narrow(query.where, query.as_of)
        chain = resource.chain(query)
        return resource.unchanged(chain, query, portion) or resource.page(
            reads.read(
                service.engine,
                lambda connection: select(
                    connection, chain.id, query,
                    where=where, descending=query.descending, after=query.after,
                    limit=query.limit, counted=query.counted, as_of=query.as_of,
                    plan=chain.plan, in_units=query.in_units,
                ),
            ),
            portion,
        )  # fmt: skip

    return list_page


def _rows_view(resource: _Resource, spec: ProjectionSpec) -> View:
    def select(
        connection: Connection, source: int, query: Query, **given: Any
    ) -> reads.Page:
        return reads.select_rows(connection, spec, source, order=query.order, **given)

    return _list_view(resource, select)


def _row_view(resource: _Resource, spec: ProjectionSpec) -> View:
    service = resource.service

    def get_row(**path: str) -> Response:
        portion = resource.admit()
        query = resource.query(many=False)
        columns = reads.row_columns(spec, in_units=query.in_units)
        values = {name: value_of(columns[name], name, path[name]) for name in spec.keys}
        chain = resource.chain(query)
        known = resource.unchanged(chain, query, portion)
        if known is not None:
            return known
        row = reads.read(
            service.engine,
            lambda connection: reads.select_row(
                connection,
                spec,
                chain.id,
                values,
                as_of=query.as_of,
                plan=chain.plan,
                in_units=query.in_units,
            ),
        )
        # Whose it is not is not told that it is there.
        if row.data is None or not portion.has(orjson.loads(row.data)):
            raise Problem(
                "no_such_row",
                f"No {spec.name} has these keys at block {row.block.height} of "
                f"{row.block.chain}. Check them, or ask again after the next block.",
                block=row.block.as_json(),
            )
        tag = tag_of(row.block, portion.version(resource.version), row.built_at)
        return resource.guarded(row_answer(row.data, row.block, tag))

    return get_row


def _facts_view(resource: _Resource, event: type[Event]) -> View:
    def select(
        connection: Connection, source: int, _: Query, **given: Any
    ) -> reads.Page:
        return reads.select_facts(
            connection, event, source, indexed=resource.indexed, **given
        )

    return _list_view(resource, select)


def _blueprint(name: str, doc: str) -> Blueprint:
    first_line = doc.split("\n", 1)[0]
    return Blueprint(name, __name__, url_prefix=PREFIX, description=first_line)


def _add(
    blueprint: Blueprint,
    rule: str,
    endpoint: str,
    view: View,
    *,
    summary: str,
    answer: str,
    parameters: list[schemas.Schema],
    path: list[schemas.Schema] | None = None,
    readable_by: Readers,
    owned_by: str | None,
) -> None:
    """Register a route with its entry in the OpenAPI document."""
    reference = {"$ref": f"#/components/schemas/{answer}"}
    documented = blueprint.doc(
        summary=summary,
        description=f"{blueprint.description}\n\nFor {readers(readable_by, owned_by)}.",
        operationId=endpoint,
        parameters=parameters,
        security=[] if readable_by is None else SIGNED_IN,
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
