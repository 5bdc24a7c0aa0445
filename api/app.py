"""The Flask app: routes made from the declarations.

    app = create_app(read_engine(url), Registry.load(), page_size=20, plans=plans)

`plans` are the streams planned for each chain, by name (`indexer.streams.plan_streams`,
which the caller may import and we may not): with them it is certain how far a chain is
read, even of an event that nobody has begun to read. The app is an ordinary WSGI
application; granian with threads serves it best.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response
from flask_smorest import Api  # type: ignore[import-untyped]
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from api.auth.audit import keep_audit
from api.auth.blueprint import auth_blueprint, auth_components
from api.auth.context import AuthContext
from api.auth.limits import limit_requests, limit_sign_in
from api.auth.middleware import protect_app
from api.auth.options import AuthOptions, WebOptions
from api.auth.reuse import watch_for_reuse
from api.auth.tokens import use_tokens
from api.books import books_blueprint
from api.chains import Chains, Plans
from api.command_answers import ANSWER, COMMAND, PAGE
from api.commands import commands_blueprint
from api.console.blueprint import console_blueprint
from api.docs import docs_blueprint
from api.documents import document_components
from api.errors import register_errors
from api.failures import failures_blueprint
from api.health import health_blueprint
from api.index import index_blueprint
from api.journal import journal_blueprint
from api.metrics import Metrics
from api.payments import SHORT, PaymentOptions, payments_blueprint
from api.reads import components, facts_blueprint, read_blueprint
from api.schedules import schedules_blueprint
from api.service import PREFIX, Service
from api.waiting import Hub
from api.writes import write_blueprint
from commands.documents import Documents
from commands.submit import CommandService
from db.declare import DeclarationError, Program
from db.registry import Registry

PAGE_SIZE_MAX = 200
# Names of routes that are no tables, which no projection may have.
OWN_NAMES = frozenset(
    {"auth", "books", "commands", "console", "docs", "documents", "failed_transactions"}
    | {"health", "index", "journal", "schedules", "stripe"}
)
API_VERSION = "1"
# A route that needs to know who asks names these in its `security`.
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


class _Flask(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: none is a coroutine, and to ask takes a while."""
        return func


class _Api(Api):  # type: ignore[misc]
    # Every route says itself how it fails.
    DEFAULT_ERROR_RESPONSE_NAME = None
    _document: bytes | None = None

    def _openapi_json(self) -> Response:
        """The document, made once: a hundred routes take a while to describe."""
        if self._document is None:
            self._document = orjson.dumps(self.spec.to_dict())
        return Response(self._document, mimetype="application/json")


def create_app(
    engine: Engine,
    registry: Registry,
    *,
    page_size: int = 20,
    page_size_max: int = PAGE_SIZE_MAX,
    plans: Plans | None = None,
    writer: Engine | None = None,
    auth: AuthOptions | None = None,
    web: WebOptions | None = None,
    command_service: CommandService | None = None,
    documents: Documents | None = None,
    payments: PaymentOptions | None = None,
    instance: str = "",
    metrics_folder: Path | None = None,
) -> Flask:
    """An app that reads from `engine`, best one of `db.reads.read_engine`.

    With `writer` and `auth` people can sign in, with `command_service` submit
    commands, with `documents` upload files; `payments` has the secrets of webhooks.
    `instance` is told by `/health/live`. In `metrics_folder` several processes count
    together.
    """
    payments = payments or PaymentOptions()
    service = Service(
        engine=engine, registry=registry, chains=Chains(engine, plans),
        page_size=page_size, page_size_max=max(page_size, page_size_max),
        writer=writer, auth=auth, command_service=command_service, documents=documents,
        checkout=payments.checkout,
    )  # fmt: skip
    app = _empty_app(service)
    metrics = Metrics(service, metrics_folder)
    metrics.watch(app)
    app.extensions["chainfold_metrics"] = metrics
    api = _Api(app)
    _describe(api, service)
    _admit(app, api, service, web or WebOptions())
    _show_tables(api, service)
    if command_service is not None:
        _take_commands(app, api, service, command_service)
    _take_webhooks(app, api, service, payments)
    for name in registry.routes:
        _add_domain_routes(name, api, service, metrics)
    app.register_blueprint(index_blueprint(service))
    app.register_blueprint(health_blueprint(service, instance))
    app.register_blueprint(docs_blueprint(service, api.spec.to_dict))
    register_errors(app)
    return app


def _empty_app(service: Service) -> Flask:
    """Return an app with its configuration and no routes."""
    app = _Flask("chainfold", static_folder=None)
    app.extensions["chainfold"] = service
    app.config.update(
        API_TITLE="Chainfold",
        API_VERSION=API_VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX=PREFIX,
        OPENAPI_JSON_PATH="openapi.json",
    )
    app.json.sort_keys = False
    app.url_map.strict_slashes = False  # with a slash behind, it is the same route
    return app


def _admit(app: Flask, api: Api, service: Service, web: WebOptions) -> None:
    """Guard the app, and let people in if there are accounts."""
    limiter = limit_requests(app, service, web)
    protect_app(app, web)
    if service.auth is None or service.writer is None:
        return
    keep_audit(app, service)
    use_tokens(app, service.auth)
    watch_for_reuse(app, service)
    for name, schema in auth_components(service.registry).items():
        api.spec.components.schema(name, schema)
    context = AuthContext(service, service.writer, service.auth)
    blueprint = auth_blueprint(context)
    limit_sign_in(limiter, blueprint, web)
    api.register_blueprint(blueprint)
    if service.registry.schedules or service.registry.dues:
        api.register_blueprint(schedules_blueprint(context))
    if service.registry.postings:
        api.register_blueprint(books_blueprint(context))
    console = console_blueprint(context, https=web.https)
    limit_sign_in(limiter, console, web)
    app.register_blueprint(console)


def _show_tables(api: Api, service: Service) -> None:
    """Show tables and facts; raises DeclarationError for a name of another route."""
    for projection in service.registry.projections.values():
        if projection.spec.plural in OWN_NAMES:
            raise DeclarationError(
                projection.spec.name,
                f"the API has other routes called {projection.spec.plural!r}",
                f'give it another name: plural = "{projection.spec.domain}_'
                f'{projection.spec.plural}"',
                projection.__module__,
            )
        api.register_blueprint(read_blueprint(service, projection.spec))
    for event in service.registry.events.values():
        api.register_blueprint(facts_blueprint(service, event))
    if service.registry.entries:
        api.register_blueprint(journal_blueprint(service))
    if any(isinstance(each, Program) for each in service.registry.emitters.values()):
        api.register_blueprint(failures_blueprint(service))


def _take_commands(
    app: Flask, api: Api, service: Service, command_service: CommandService
) -> None:
    hub = app.extensions["chainfold_hub"] = Hub(command_service.engine)
    api.register_blueprint(commands_blueprint(service, hub))
    for command in service.registry.commands.values():
        api.register_blueprint(write_blueprint(service, command))


def _take_webhooks(
    app: Flask, api: Api, service: Service, options: PaymentOptions
) -> None:
    """Take Stripe's webhooks, by a short name too: it follows no redirect."""
    blueprint = payments_blueprint(service, options)
    api.register_blueprint(blueprint)
    view = app.view_functions[f"{blueprint.name}.take_webhook"]
    app.add_url_rule(
        SHORT, "take_webhook", view, methods=["POST"], strict_slashes=False
    )


def _add_domain_routes(name: str, api: Api, service: Service, metrics: Metrics) -> None:
    """Let a domain's `routes` add what it has; raises DeclarationError."""
    module = importlib.import_module(name)
    add = getattr(module, "add_routes", None)
    if add is None:
        raise DeclarationError(
            name,
            "it adds no routes",
            "write def add_routes(api, service), or take the file out",
            str(module.__file__),
        )
    add(api, service)
    for each in getattr(module, "metric_collectors", _nothing)(service):
        metrics.add(each)


def _nothing(_: Service) -> tuple[Collector, ...]:
    return ()


def _describe(api: Api, service: Service) -> None:
    if service.auth is not None:
        for name, scheme in SECURITY_SCHEMES.items():
            api.spec.components.security_scheme(name, scheme)
    schemas = components(service)
    if service.documents is not None:
        schemas |= document_components()
    if service.command_service is not None:
        schemas |= {"Command": COMMAND, "CommandAnswer": ANSWER, "CommandPage": PAGE}
    for name, schema in schemas.items():
        api.spec.components.schema(name, schema)
    problem = {"$ref": "#/components/schemas/Problem"}
    api.spec.components.response(
        "Problem",
        {
            "description": "It failed, and `type` says how.",
            "content": {"application/problem+json": {"schema": problem}},
        },
    )
