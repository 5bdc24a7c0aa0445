"""Comparing the roots of days with those that were put on a chain."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.journal.anchoring.projections import Anchor
from db.journal.root import KIND, DayRoot, closed_days, day_root, subject
from db.sql.columns import state_table


class AnchorStatus(enum.StrEnum):
    """The state of a day's anchor on the chain."""

    ANCHORED = "anchored"
    MISSING = "not anchored"
    DIFFERS = "differs from what was anchored"
    CHANGED = "differs from what was said when it was closed"


@dataclass(frozen=True, slots=True)
class CheckedDay:
    """A day, and whether what is on the chain is what its entries add up to."""

    day: DayRoot
    status: AnchorStatus
    anchored_at: int | None = None


def check_days(connection: Connection, signer: bytes | None) -> Iterator[CheckedDay]:
    """Compare every closed day with the entries, and with the anchors of a signer.

    Anyone can anchor anything about us: only what `signer` did counts.
    """
    anchored = _anchored(connection, signer)
    for closed in closed_days(connection):
        if day_root(connection, closed.day) != closed:
            yield CheckedDay(closed, AnchorStatus.CHANGED)
            continue
        found = anchored.get(closed.ended_at)
        if not found:
            yield CheckedDay(closed, AnchorStatus.MISSING)
            continue
        first = found[0]
        same = all(each[:2] == (closed.root, closed.last_hash) for each in found)
        status = AnchorStatus.ANCHORED if same else AnchorStatus.DIFFERS
        yield CheckedDay(closed, status, first[2])


def _anchored(
    connection: Connection, signer: bytes | None
) -> dict[int, list[tuple[bytes, bytes, int]]]:
    """Root, last hash and block time of the signer's anchors, by the end of the day."""
    table = state_table(Anchor.spec)
    query = (
        select(table)
        .where(table.c.subject == subject(connection), table.c.kind == KIND)
        .where(table.c.signer == signer)
        .order_by(table.c.seq)
    )
    found: dict[int, list[tuple[bytes, bytes, int]]] = {}
    for row in connection.execute(query):
        roots = found.setdefault(int(row.occurred_at), [])
        roots.append((bytes(row.content_hash), bytes(row.reference), row.anchored_at))
    return found
