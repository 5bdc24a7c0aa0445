"""Schedules over HTTP and on the console: who may look, who may have one run."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from db.declare import schedule
from db.declare.roles import Role
from db.domains.crowdfunding.projections import Campaign
from db.registry import Registry
from db.sql.columns import state_name
from helpers.door import Door
from indexer.timers import run_schedules

BASE = Registry.load()
NOW = datetime(2026, 3, 2, 13, 59, tzinfo=UTC)


@schedule("0 9 * * MON", zone="America/Toronto")
def weekly(at, tables):
    """Do the week's work."""
    yield from ()


@pytest.fixture
def door(migrated_url):
    registry = Registry.of(
        BASE.events.values(), BASE.projections.values(), BASE.commands.values(),
        timers=[weekly], roles=BASE.roles.values(),
    )  # fmt: skip
    door = Door(migrated_url, registry)
    yield door
    door.close()


def test_staff_sees_and_operators_run(door):
    operator = door.token(door.account(Role.OPERATOR))
    auditor = door.token(door.account(Role.AUDITOR))
    investor = door.token(door.account(BASE.roles["investor"]))
    path = "/api/v1/schedules"
    run_schedules(door.writer, door.registry, [], NOW)

    [before] = door.get(path, token=auditor).json["data"]
    door.get(path, 403, token=investor)
    door.get(path, 401)
    door.post(f"{path}/test_schedules.weekly/run", status=403, token=auditor)
    door.post(f"{path}/test_schedules.weekly/run", status=202, token=operator)
    unknown = door.post(f"{path}/weekly/run", status=404, token=operator)
    ran = run_schedules(door.writer, door.registry, [], NOW)
    [after] = door.get(path, token=auditor).json["data"]

    assert before == {
        "name": "test_schedules.weekly", "kind": "schedule",
        "about": "Do the week's work.", "times": "0 9 * * MON (America/Toronto)",
        "next_at": "2026-03-02T14:00:00Z", "last_at": None, "last_run_by": None,
    }  # fmt: skip
    assert "there is test_schedules.weekly" in unknown.json["detail"]
    assert ran == 1
    assert after["last_at"] == "2026-03-02T13:59:00Z"
    assert after["last_run_by"]
    assert after["next_at"] == before["next_at"]
    with door.writer.connect() as connection:
        noted = connection.execute(
            text("SELECT action, subject, outcome FROM audit_action_taken")
        ).all()
    assert noted == [("run", "test_schedules.weekly", "asked for")]


def test_without_a_timer_there_is_no_route(database_url):
    door = Door(database_url)

    assert door.get("/api/v1/schedules", 404).status_code == 404
    door.close()


def test_what_becomes_due_is_listed_with_its_next_moment(migrated_url):
    door = Door(migrated_url, BASE)
    auditor = door.token(door.account(Role.AUDITOR))
    with door.writer.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO state.{state_name(Campaign.spec)} (source, campaign,"
                " deadline, stage) VALUES (1, '\\x01', 1900000000, 'active'),"
                " (1, '\\x02', 1800000000, 'funded'), (1, '\\x03', 1, 'failed')"
            )
        )

    listed = door.get("/api/v1/schedules", token=auditor).json["data"]
    found = [each for each in listed if each["name"].startswith("crowdfunding.")]

    assert [(each["name"], each["kind"], each["next_at"]) for each in found] == [
        ("crowdfunding.finalise", "due", "2027-01-15T08:00:00Z"),
        ("crowdfunding.refund_investors", "due", None),
    ]
    door.close()
