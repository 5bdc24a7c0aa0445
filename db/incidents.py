"""Incidents: reasons why chains were stopped, until an operator resolves them.

While one is open the signers of its chain are halted. Resolving it tells what was found
and lets the chain be followed again; if the cause is still there, the chain is stopped
again, with a new incident.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text, update

from db.control import incident
from db.control import source as source_table
from db.errors import DatabaseError


class NoIncident(DatabaseError):
    """There is no such incident, or it is resolved."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident; `resolved_at` None: it is open."""

    id: int
    chain: str
    source: int
    kind: str
    cause: str
    at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None


def list_incidents(
    connection: Connection, *, source: int | None = None, resolved: bool = False
) -> list[Incident]:
    """The open incidents, or with `resolved` all, oldest first; of one chain or all."""
    query = (
        select(incident, source_table.c.name.label("chain"))
        .join(source_table, source_table.c.id == incident.c.source)
        .order_by(incident.c.id)
    )
    if source is not None:
        query = query.where(incident.c.source == source)
    if not resolved:
        query = query.where(incident.c.resolved_at.is_(None))
    return [
        Incident(
            row.id, row.chain, row.source, row.kind,
            str(row.details.get("cause") or row.kind), row.at,
            row.resolved_at, row.resolved_by, row.resolution,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def resolve(connection: Connection, number: int, *, by: str, reason: str) -> Incident:
    """Say that an incident is over, and why; the incident as it was.

    A chain without another open incident may be followed again. Raises NoIncident.
    """
    found = [
        each for each in list_incidents(connection, resolved=True) if each.id == number
    ]
    if not found:
        raise NoIncident(
            f"there is no incident {number}: `chainfold incident list` has the numbers."
        )
    if found[0].resolved_at is not None:
        raise NoIncident(
            f"incident {number} was resolved by {found[0].resolved_by or 'somebody'} "
            f"at {found[0].resolved_at:%Y-%m-%d %H:%M:%S}: nothing is left to do."
        )
    _resolve(connection, [number], by, reason)
    release_stop(connection, found[0].source)
    return found[0]


def resolve_all(
    connection: Connection, source: int, *, by: str, reason: str
) -> list[Incident]:
    """Resolve every open incident of a chain, as a rewind does."""
    found = list_incidents(connection, source=source)
    _resolve(connection, [each.id for each in found], by, reason)
    return found


def release_stop(connection: Connection, source: int | None = None) -> None:
    """Let stopped chains without an open incident be followed again: one, or all."""
    connection.execute(
        text(
            "UPDATE control.source s SET state = 'new', cause = '', trouble = '',"
            " state_since = now() WHERE s.state = 'stopped'"
            " AND (cast(:source AS integer) IS NULL OR s.id = :source)"
            " AND NOT EXISTS (SELECT FROM control.incident i"
            " WHERE i.source = s.id AND i.resolved_at IS NULL)"
        ),
        {"source": source},
    )


def _resolve(connection: Connection, ids: list[int], by: str, reason: str) -> None:
    connection.execute(
        update(incident)
        .where(incident.c.id.in_(ids))
        .values(resolved_at=text("now()"), resolved_by=by, resolution=reason)
    )
