"""Leases on writing: of a chain to its follower, of ranges to backfills.

Both hold a row that every write transaction checks, so a process that was paused and
replaced cannot write when it wakes.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from db.errors import LeaseLost
from db.position import BlockRange
from db.processes import is_dead, owner_name, process_name

FOLLOWER_SECONDS = 30  # a follower not seen for so long has lost its lease
LEASE_SECONDS = 120
_LEASES = 0x63666C65  # the class of the advisory locks taken to lease: "cfle"


@dataclass(frozen=True, slots=True)
class FollowerLease:
    """The lease of the one process that follows a chain."""

    source: int
    token: str

    def guard(self, connection: Connection) -> None:
        """Renew the lease inside a write; raises LeaseLost when another holds it."""
        result = connection.execute(
            text(
                "UPDATE control.follower SET seen_at = clock_timestamp()"
                " WHERE source = :source AND token = :token"
            ),
            {"source": self.source, "token": self.token},
        )
        if result.rowcount != 1:
            raise LeaseLost(
                "another process follows this chain now; this one writes nothing more. "
                "Start it again if the other was stopped."
            )

    def release(self, engine: Engine) -> None:
        """Release the lease."""
        with engine.begin() as connection:
            connection.execute(
                text(
                    "DELETE FROM control.follower"
                    " WHERE source = :source AND token = :token"
                ),
                {"source": self.source, "token": self.token},
            )


def acquire_follower_lease(engine: Engine, source: int) -> FollowerLease | str:
    """Acquire the lease if it is free or its holder is gone; else return the holder.

    A holder of another host is gone when it was not seen for FOLLOWER_SECONDS, one of
    this host as soon as its process has ended.
    """
    token = secrets.token_hex(8)
    with engine.begin() as connection:
        held = connection.execute(_HELD, {"source": source}).first()
        gone = "" if held is None or not is_dead(held.process) else held.token
        taken = connection.execute(
            _TAKE,
            {
                "source": source,
                "owner": owner_name(),
                "token": token,
                "process": process_name(),
                "gone": gone,
                "patience": FOLLOWER_SECONDS,
            },
        ).scalar()
        if taken == token:
            return FollowerLease(source, token)
        held = connection.execute(_HELD, {"source": source}).first()
    if held is None:
        return "a process that has just left"
    return f"{held.owner}, since {held.since:%Y-%m-%d %H:%M:%S}"


_HELD = text(
    "SELECT owner, token, process, since FROM control.follower WHERE source = :source"
)
_TAKE = text(
    "INSERT INTO control.follower AS f"
    " (source, owner, token, since, seen_at, process) VALUES"
    " (:source, :owner, :token, clock_timestamp(), clock_timestamp(), :process)"
    " ON CONFLICT (source) DO UPDATE SET owner = excluded.owner,"
    " token = excluded.token, since = excluded.since,"
    " seen_at = excluded.seen_at, process = excluded.process"
    " WHERE f.token = :gone OR f.seen_at"
    " < clock_timestamp() - make_interval(secs => :patience)"
    " RETURNING token"
)


@dataclass(frozen=True, slots=True)
class RangeLease:
    """A range that only its owner may write."""

    id: int
    source: int
    blocks: BlockRange

    def guard(self, connection: Connection) -> None:
        """Renew the lease inside a write; raises LeaseLost when it expired."""
        result = connection.execute(
            text(
                "UPDATE control.lease SET expires_at ="
                " clock_timestamp() + make_interval(secs => :seconds) WHERE id = :id"
            ),
            {"id": self.id, "seconds": LEASE_SECONDS},
        )
        if result.rowcount != 1:
            raise LeaseLost(
                f"the lease of blocks {self.blocks} expired and another worker has it: "
                "run the backfill again: it continues with the gaps."
            )

    def release(self, engine: Engine) -> None:
        """Give the range up."""
        with engine.begin() as connection:
            connection.execute(
                text("DELETE FROM control.lease WHERE id = :id"), {"id": self.id}
            )


def lease_range(engine: Engine, source: int, blocks: BlockRange) -> RangeLease | None:
    """Lease a range; None when part of it is leased to another that is alive."""
    try:
        with engine.begin() as connection:
            # One after another: two inserts checked against each other would deadlock.
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:space, :source)"),
                {"space": _LEASES, "source": source},
            )
            connection.execute(
                text(
                    "DELETE FROM control.lease WHERE source = :source"
                    " AND expires_at < clock_timestamp()"
                ),
                {"source": source},
            )
            row = connection.execute(
                text(
                    "INSERT INTO control.lease"
                    " (source, blocks, owner, process, expires_at) VALUES"
                    " (:source, int8range(:first, :last, '[]'), :owner, :process,"
                    " clock_timestamp() + make_interval(secs => :seconds)) RETURNING id"
                ),
                {
                    "source": source,
                    "first": blocks.first,
                    "last": blocks.last,
                    "owner": owner_name(),
                    "process": process_name(),
                    "seconds": LEASE_SECONDS,
                },
            ).scalar_one()
    except IntegrityError as error:
        if "lease_apart" in str(error):
            return None
        raise
    return RangeLease(row, source, blocks)


def release_leases_of_the_dead(engine: Engine, source: int) -> int:
    """Free the leases of processes of this host that have ended; how many."""
    with engine.begin() as connection:
        rows = connection.execute(
            text("SELECT id, process FROM control.lease WHERE source = :source"),
            {"source": source},
        ).all()
        dead = [row.id for row in rows if is_dead(row.process)]
        connection.execute(
            text("DELETE FROM control.lease WHERE id = ANY(:dead)"), {"dead": dead}
        )
    return len(dead)


def leased(connection: Connection, source: int) -> list[BlockRange]:
    """The ranges that live workers hold."""
    rows = connection.execute(
        text(
            "SELECT lower(blocks), upper(blocks) - 1 FROM control.lease"
            " WHERE source = :source AND expires_at >= clock_timestamp()"
            " ORDER BY blocks"
        ),
        {"source": source},
    )
    return [BlockRange(first, last) for first, last in rows]
