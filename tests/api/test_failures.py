"""The list of transactions of followed programs that failed."""

import pytest
from sqlalchemy import insert

from api.app import create_app
from db import sources
from db.control import failed_transaction
from db.declare.solana.bare import declare_program
from db.position import position
from db.registry import Registry
from db.schema import migrate
from idl import load_idl
from idl.base58 import to_base58

REGISTRY = Registry.of(declare_program("ledger", load_idl("ledger")), [])
PROGRAMS = [b"\1" * 32, b"\2" * 32]


@pytest.fixture
def ask(db_engine):
    migrate(db_engine, REGISTRY)
    with db_engine.begin() as connection:
        row = sources.register(
            connection, name="sol", chain_id="solana:1", ordinals="transaction"
        )
        other = sources.register(
            connection, name="eth", chain_id="eip155:1", ordinals="rank"
        )
        for at in range(5):
            connection.execute(
                insert(failed_transaction).values(
                    source=row.id,
                    position=position(10 + at // 2, at << 16),
                    block_time=1_700_000_000 + at,
                    transaction=bytes([at]) * 64,
                    program=None if at == 4 else PROGRAMS[at % 2],
                    code=None if at == 4 else 6000 + at,
                    error="AccountInUse" if at == 4 else f"Error{at}",
                )
            )
        assert other.id != row.id
    http = create_app(db_engine, REGISTRY).test_client()
    return lambda query="": http.get(f"/api/v1/failed-transactions{query}")


def test_they_come_newest_first_page_by_page(ask):
    """Of two chains the one of Solana is meant."""
    first = ask("?limit=2").json
    second = ask(f"?limit=2&before={first['next']}").json
    third = ask(f"?limit=2&before={second['next']}").json

    found = [*first["data"], *second["data"], *third["data"]]
    assert [row["block_time"] for row in found] == [
        f"2023-11-14T22:13:2{each}Z" for each in (4, 3, 2, 1, 0)
    ]
    assert third["next"] is None
    assert found[0] == {
        "position": str(position(12, 4 << 16)), "height": 12,
        "block_time": "2023-11-14T22:13:24Z", "transaction": to_base58(b"\4" * 64),
        "program": None, "code": None, "error": "AccountInUse",
    }  # fmt: skip


def test_they_are_narrowed_by_program_and_error(ask):
    mine = ask(f"?program={to_base58(PROGRAMS[1])}").json["data"]
    assert [row["code"] for row in mine] == [6003, 6001]
    [one] = ask("?error=Error2").json["data"]
    assert one["program"] == to_base58(PROGRAMS[0])
    assert ask("?chain=eth").json["data"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?program=0x11", "32 bytes in base58"),
        ("?limit=0", "limit: '0' is not a number"),
        ("?before=x", "before: 'x' is not a number"),
        ("?programme=1", "is not known"),
        ("?chain=nobody", "is not followed"),
    ],
)
def test_what_is_asked_wrongly_is_refused(ask, query, words):
    answer = ask(query)

    assert answer.status_code in (400, 404)
    assert words in answer.json["detail"]


def test_it_is_described(db_engine):
    http = create_app(db_engine, REGISTRY).test_client()
    paths = http.get("/api/v1/openapi.json").json["paths"]

    told = paths["/api/v1/failed-transactions"]["get"]
    assert [each["name"] for each in paths["/api/v1/failed-transactions"].get(
        "parameters", told.get("parameters", [])
    )] == ["chain", "program", "error", "before", "limit"]  # fmt: skip
    assert (
        "/api/v1/failed-transactions"
        not in (
            create_app(db_engine, Registry.of([], []))
            .test_client()
            .get("/api/v1/openapi.json")
            .json["paths"]
        )
    )
