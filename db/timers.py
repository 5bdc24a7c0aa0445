"""Rows whose moments have passed, and the times at which schedules run.

Every function works in its caller's transaction, which holds the lock that the first of
them takes; what is asked for commits with the note that it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from db.control import due_done, schedule, schedule_request, schedule_run
from db.declare.projections import ProjectionSpec
from db.declare.timers import Due, Schedule
from db.sql.columns import state_table
from db.sql.types import readable

FAR = 253_402_300_799  # the last second that a date can have


@dataclass(frozen=True, slots=True)
class DueRow:
    """A row that is due: its keys in Python form, as text, and its moment."""

    keys: Mapping[str, Any]
    text: str
    moment: int


@dataclass(frozen=True, slots=True)
class TimerState:
    """A timer as people see it; None: it has not run, or nothing of it waits."""

    id: str
    doc: str
    times: str  # a rule with its zone, or a column of rows
    next_at: datetime | None
    last_at: datetime | None
    last_asked_by: str = ""


def due_rows(
    connection: Connection, source: int, each: Due, now: int, limit: int
) -> list[DueRow]:
    """The rows whose moments have passed and that were not given yet, oldest first.

    They are read live, so whoever goes by a final block looks at each again.
    """
    spec = each.rows.spec
    table = state_table(spec)
    row = _row_text(spec, table)
    query = (
        select(*(table.c[name] for name in spec.keys))
        .add_columns(row.label("_row"), table.c[each.at].label("_moment"))
        .where(table.c.source == source, table.c[each.at] < now)
        .where(*_waiting(each, table))
        .order_by(table.c[each.at], row)
        .limit(limit)
    )
    found = []
    for item in connection.execute(query).mappings():
        keys = {
            name: bytes(item[name])
            if isinstance(item[name], memoryview)
            else item[name]
            for name in spec.keys
        }
        found.append(DueRow(keys, item["_row"], int(item["_moment"])))
    return found


def note_due(
    connection: Connection, source: int, name: str, row: DueRow, now: datetime
) -> None:
    """Note that a row was given to its function."""
    connection.execute(
        insert(due_done).values(
            source=source, name=name, row=row.text, moment=row.moment, done_at=now
        )
    )


def rests(connection: Connection, each: Schedule, now: datetime) -> bool:
    """Whether a schedule needs no action: its next time is ahead, no run is asked."""
    asked = select(schedule_request.c.id).where(schedule_request.c.name == each.id)
    query = select(
        exists().where(
            schedule.c.name == each.id, schedule.c.rule == each.rule,
            schedule.c.zone == each.zone, schedule.c.next_at > now,
        )
        & ~asked.exists()
    )  # fmt: skip
    return bool(connection.scalar(query))


def lock_schedule(connection: Connection, each: Schedule, now: datetime) -> datetime:
    """The next time of a schedule, locked until commit.

    One that is new, or has another rule than before, begins at its next time.
    """
    changes = {"rule": each.rule, "zone": each.zone}
    connection.execute(
        upsert(schedule)
        .values(name=each.id, next_at=each.after(now), **changes)
        .on_conflict_do_nothing()
    )
    query = select(schedule).where(schedule.c.name == each.id).with_for_update()
    row = connection.execute(query).one()
    if (row.rule, row.zone) == (each.rule, each.zone):
        found: datetime = row.next_at
        return found
    move_schedule(connection, each, each.after(now))
    return each.after(now)


def move_schedule(connection: Connection, each: Schedule, next_at: datetime) -> None:
    """Set the next time of a schedule, with the rule that it follows from."""
    connection.execute(
        update(schedule)
        .where(schedule.c.name == each.id)
        .values(rule=each.rule, zone=each.zone, next_at=next_at)
    )


def note_run(
    connection: Connection,
    name: str,
    at: datetime,
    now: datetime,
    *,
    asked_for: int,
    asked_by: str = "",
) -> None:
    """Note a run: for which time of the rule, or at whose request."""
    connection.execute(
        insert(schedule_run).values(
            name=name, at=at, ran_at=now, asked_by=asked_by, asked_for=asked_for
        )
    )


def request_run(
    connection: Connection, name: str, asked_by: str, now: datetime
) -> None:
    """Ask for a run of a schedule besides its times."""
    connection.execute(
        insert(schedule_request).values(name=name, asked_by=asked_by, asked_at=now)
    )


def take_request(connection: Connection, name: str) -> str | None:
    """Take the oldest run of a locked schedule that was asked for: by whom."""
    oldest = (
        select(schedule_request.c.id)
        .where(schedule_request.c.name == name)
        .order_by(schedule_request.c.id)
        .limit(1)
    )
    found: str | None = connection.execute(
        delete(schedule_request)
        .where(schedule_request.c.id == oldest.scalar_subquery())
        .returning(schedule_request.c.asked_by)
    ).scalar()
    return found


def due_states(connection: Connection, declared: Iterable[Due]) -> list[TimerState]:
    """Each declared `Due` with the next moment of a row, and when one was given last.

    Rows are looked at on every chain.
    """
    found = []
    for each in declared:
        table = state_table(each.rows.spec)
        moment = connection.scalar(
            select(func.min(table.c[each.at])).where(*_waiting(each, table))
        )
        last = connection.scalar(
            select(func.max(due_done.c.done_at)).where(due_done.c.name == each.id)
        )
        next_at = None
        if moment is not None and 0 <= moment <= FAR:
            next_at = datetime.fromtimestamp(int(moment), UTC)
        times = f"{each.at} of {each.rows.spec.plural}"
        found.append(TimerState(each.id, each.doc, times, next_at, last))
    return found


def schedule_states(
    connection: Connection, declared: Iterable[Schedule]
) -> list[TimerState]:
    """Each declared schedule with its last run and its next time."""
    known = {row.name: row for row in connection.execute(select(schedule))}
    query = (
        select(schedule_run)
        .ext(distinct_on(schedule_run.c.name))
        .order_by(schedule_run.c.name, schedule_run.c.id.desc())
    )
    last = {row.name: row for row in connection.execute(query)}
    found = []
    for each in declared:
        row, run = known.get(each.id), last.get(each.id)
        same = row is not None and (row.rule, row.zone) == (each.rule, each.zone)
        found.append(
            TimerState(
                each.id, each.doc, f"{each.rule} ({each.zone})",
                row.next_at if row is not None and same else None,
                None if run is None else run.at,
                "" if run is None else run.asked_by,
            )
        )  # fmt: skip
    return found


def _waiting(each: Due, table: Any) -> list[ColumnElement[bool]]:
    """Conditions of the rows that are as declared and were not given yet."""
    done = select(literal(1)).where(
        due_done.c.source == table.c.source, due_done.c.name == each.id,
        due_done.c.row == _row_text(each.rows.spec, table),
        due_done.c.moment == table.c[each.at],
    )  # fmt: skip
    as_declared = [table.c[name].in_(values) for name, values in each.when.items()]
    return [*as_declared, ~done.exists()]


def _row_text(spec: ProjectionSpec, table: Any) -> ColumnElement[str]:
    """The key of a row as text, the same for the same key: a JSON list."""
    keys = (readable(field, table.c[name]) for name, field in spec.keys.items())
    return cast(func.jsonb_build_array(*keys), Text)
