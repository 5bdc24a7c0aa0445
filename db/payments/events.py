"""Events that were read, and what was said of them: each once, whoever reads.

`note` does all of it in one transaction: it takes the names of what is to be said, then
appends the entries whose names were free. A name is taken for ever, so that an event
that comes twice, another that tells of the same, and a reader that was killed anywhere
add nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.control import (
    stripe_count,
    stripe_event,
    stripe_said,
    stripe_waiting,
    stripe_webhook,
)
from db.declare import Entry
from db.journal.append import Actor, append
from db.registry import Registry

ACTOR = Actor("stripe", tenant="stripe")
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class EventRef:
    """An event without its content: which object it is about, and when it was made.

    `account` is empty for our own. `kind` is the object's type.
    """

    id: str
    type: str
    created: int
    livemode: bool
    account: str
    kind: str
    object: str


@dataclass(frozen=True, slots=True)
class Saying:
    """An entry under the name that it is said once by; `also` are taken with it."""

    key: str
    entry: Entry
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object to look at again, and why."""

    kind: str
    object: str
    cause: str


def unread(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of some events that were not noted yet."""
    query = select(stripe_event.c.id).where(stripe_event.c.id.in_(list(ids)))
    return set(ids) - set(connection.scalars(query))


def was_said(connection: Connection, key: str) -> bool:
    """Whether something was said."""
    query = select(stripe_said.c.key).where(stripe_said.c.key == key)
    return connection.execute(query).first() is not None


def note(
    connection: Connection,
    registry: Registry,
    account: str,
    events: Sequence[EventRef],
    outcome: str,
    sayings: Iterable[Saying] = (),
    *,
    now: datetime,
) -> int:
    """Note events, and say what was not said yet; how many entries that made.

    The outcome that is kept is `outcome`, or `said` where an entry was made.
    """
    fresh = [each for each in _sorted(events) if _take_event(connection, account, each,
             outcome, now)]  # fmt: skip
    free = []
    for saying in sorted(sayings, key=lambda each: each.key):
        if _take(connection, saying.key, now):
            free.append(saying)
            for key in saying.also:
                _take(connection, key, now)
    for saying in free:
        append(connection, registry, saying.entry, actor=ACTOR, now=now)
    if free and fresh:
        ids = [each.id for each in fresh]
        connection.execute(
            update(stripe_event)
            .where(stripe_event.c.id.in_(ids))
            .values(outcome="said")
        )
    _count(connection, account, "said" if free else outcome, len(fresh))
    return len(free)


def wait_for(connection: Connection, waiting: Waiting, now: datetime) -> None:
    """Look at an object again later: ever later, while it is waited for."""
    statement = insert(stripe_waiting).values(
        kind=waiting.kind, object=waiting.object, cause=waiting.cause[:500],
        since=now, next_at=now + FIRST_WAIT, tries=1,
    )  # fmt: skip
    longer = FIRST_WAIT * func.power(2, func.least(stripe_waiting.c.tries, 20))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["kind", "object"],
            set_={
                "cause": statement.excluded.cause,
                "tries": stripe_waiting.c.tries + 1,
                "next_at": now + func.least(longer, LONGEST_WAIT),
            },
        )
    )


def wait_no_more(connection: Connection, kind: str, object_: str) -> None:
    """Forget that an object was waited for."""
    connection.execute(
        delete(stripe_waiting).where(
            stripe_waiting.c.kind == kind, stripe_waiting.c.object == object_
        )
    )


def due_waiting(connection: Connection, now: datetime, limit: int) -> list[Waiting]:
    """The objects that are to be looked at again now, the longest due first."""
    query = (
        select(stripe_waiting)
        .where(stripe_waiting.c.next_at <= now)
        .order_by(stripe_waiting.c.next_at)
        .limit(limit)
    )
    return [
        Waiting(row.kind, row.object, row.cause) for row in connection.execute(query)
    ]


def forget_old(connection: Connection, *, events_before: int, now: datetime) -> None:
    """Forget events that Stripe has forgotten too, and bodies of webhooks as old."""
    connection.execute(
        delete(stripe_event).where(stripe_event.c.created < events_before)
    )
    connection.execute(
        delete(stripe_webhook).where(
            stripe_webhook.c.received_at < now - timedelta(days=30)
        )
    )


def _sorted(events: Sequence[EventRef]) -> list[EventRef]:
    """In one order for all, so that no two transactions wait for each other."""
    return sorted(events, key=lambda each: each.id)


def _take_event(
    connection: Connection, account: str, event: EventRef, outcome: str, now: datetime
) -> bool:
    values = {
        "id": event.id, "account": account, "type": event.type,
        "created": event.created, "object": event.object, "outcome": outcome,
        "noted_at": now,
    }  # fmt: skip
    statement = insert(stripe_event).values(values).on_conflict_do_nothing()
    return connection.execute(statement).rowcount == 1


def _take(connection: Connection, key: str, now: datetime) -> bool:
    statement = insert(stripe_said).values(key=key, said_at=now)
    return connection.execute(statement.on_conflict_do_nothing()).rowcount == 1


def _count(connection: Connection, account: str, outcome: str, events: int) -> None:
    if not events:
        return
    statement = insert(stripe_count).values(
        account=account, outcome=outcome, events=events
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account", "outcome"],
            set_={"events": stripe_count.c.events + statement.excluded.events},
        )
    )


def counts(connection: Connection, account: str) -> Counter[str]:
    """Count the events by their outcome."""
    query = select(stripe_count.c.outcome, stripe_count.c.events).where(
        stripe_count.c.account == account
    )
    return Counter({row.outcome: row.events for row in connection.execute(query)})
