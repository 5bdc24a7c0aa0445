"""IDLs that others published become tables, views and an API as they are."""

import json

import pytest
from solders.pubkey import Pubkey
from sqlalchemy import text

from api.app import create_app
from db.schema import migrate
from helpers import strangers
from helpers.bare import settings_of
from helpers.npm import NpmUnavailable
from ops.describe import describe_event
from ops.indexing import declared

CHAIN = """
domains = []
[chains.local]
id = "solana:11111111111111111111111111111111"
rpc = "http://127.0.0.1:9"
finality = "commitment"
"""
PROGRAM = """
[programs.{name}]
idl = "{path}"
address = "{address}"
"""


@pytest.fixture
def registry(tmp_path):
    try:
        strangers.install()
    except NpmUnavailable as error:
        pytest.skip(str(error))
    sections = [
        PROGRAM.format(
            name=name,
            path=strangers.NODE_MODULES / path,
            address=Pubkey.from_bytes(name.encode().ljust(32, b"\1")),
        )
        for name, path in strangers.IDLS.items()
    ]
    return declared(settings_of(tmp_path, CHAIN + "".join(sections)))


def test_all_of_them_are_tables_views_and_an_api(registry, db_engine):
    migrate(db_engine, registry)

    tables = {event.spec.table for event in registry.events.values()}
    with db_engine.connect() as connection:
        views = connection.execute(
            text("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
        ).scalars()
        assert tables <= set(views)
        for table in sorted(tables):
            assert connection.execute(text(f"TABLE public.{table}")).all() == []
    app = create_app(db_engine, registry)
    paths = app.test_client().get("/api/v1/openapi.json").json["paths"]
    assert {f"/api/v1/events/{table}" for table in tables} <= set(paths)
    for event in registry.events.values():
        assert len(list(describe_event(event, sql=True))) > 3
    for name, path in strangers.IDLS.items():
        raw = json.loads((strangers.NODE_MODULES / path).read_bytes())
        told = [*raw["instructions"], *(raw.get("events") or [])]
        assert len(registry.events_of(name)) == len(told)
