"""Timers over HTTP: when each runs next and ran last; running a schedule by hand.

GET /api/v1/schedules
POST /api/v1/schedules/<name>/run
"""

from typing import Any

from flask import Response
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.context import AuthContext
from api.auth.principal import current_principal, require_role
from api.auth.routes import SIGNED_IN, add_route
from api.errors import Problem
from api.json_answers import json_answer
from api.schemas import Schema
from api.service import PREFIX, Service
from api.writes import actor_of
from commands.actions import UnknownSchedule, run_schedule
from db.declare.readers import STAFF
from db.declare.roles import Role
from db.reads import read
from db.timers import TimerState, due_states, schedule_states

_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_TIMER: Schema = {
    "type": "object",
    "required": ["name", "kind", "about", "times", "next_at", "last_at", "last_run_by"],
    "properties": {
        "name": {"type": "string"},
        "kind": {
            "enum": ["schedule", "due"],
            "description": "due: rows are given as their moments pass; next_at is the "
            "next moment of one.",
        },
        "about": {"type": "string"},
        "times": {
            "type": "string",
            "description": "A rule as crontab(5) has it, with its zone; or a column.",
        },
        "next_at": _TIME,
        "last_at": _TIME,
        "last_run_by": {
            "type": ["string", "null"],
            "description": "Who asked for the last run; null: its time had come.",
        },
    },
}
_LIST: Schema = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "array", "items": _TIMER}},
}
_ASKED: Schema = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {"type": "object", "properties": {"name": {"type": "string"}}}
    },
}


def schedules_blueprint(context: AuthContext) -> Blueprint:
    """`GET /schedules` and `POST /schedules/<name>/run`."""
    service = context.service
    blueprint = Blueprint(
        "schedules", __name__, url_prefix=f"{PREFIX}/schedules",
        description="What is done at fixed times.",
    )  # fmt: skip

    def list_schedules() -> Response:
        """Each schedule, and each kind of row that is due: next time and last run."""
        require_role(current_principal(service), *STAFF)
        schedules, dues = states_of(service)
        shown = [_shown("schedule", each) for each in schedules]
        return json_answer({"data": shown + [_shown("due", each) for each in dues]})

    def run_schedule_now(name: str) -> Response:
        """Have a schedule run now, besides its times; the audit log keeps who asked."""
        principal = current_principal(service)
        require_role(principal, Role.OPERATOR)
        try:
            with context.begin() as connection:
                run_schedule(
                    connection, service.registry, name,
                    actor=actor_of(principal), now=context.now(),
                )  # fmt: skip
        except UnknownSchedule as error:
            raise Problem("no_such_row", f"{error}.") from None
        return json_answer({"data": {"name": name}}, status=202)

    add_route(
        blueprint, "", list_schedules, method="GET",
        summary="The schedules", returns=_LIST, security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "/<name>/run", run_schedule_now,
        summary="Run a schedule now", returns=_ASKED, status=202, security=SIGNED_IN,
        path=[{"in": "path", "name": "name", "required": True,
               "schema": {"type": "string"}}],
    )  # fmt: skip
    return blueprint


def states_of(service: Service) -> tuple[list[TimerState], list[TimerState]]:
    """The declared schedules as they stand, and the kinds of rows that are due."""
    registry = service.registry
    return read(
        service.engine,
        lambda c: (
            schedule_states(c, registry.schedules.values()),
            due_states(c, registry.dues.values()),
        ),
    )


def _shown(kind: str, each: TimerState) -> dict[str, Any]:
    return {
        "name": each.id,
        "kind": kind,
        "about": each.doc,
        "times": each.times,
        "next_at": each.next_at,
        "last_at": each.last_at,
        "last_run_by": each.last_asked_by or None,
    }
