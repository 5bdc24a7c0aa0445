"""A small journal for tests: people apply, are approved or turned down."""

import uuid
from datetime import UTC, datetime

from db.declare import (
    EVERYONE,
    Count,
    CountDistinct,
    Entry,
    First,
    Json,
    Key,
    Latest,
    Personal,
    Projection,
    Replay,
    Role,
    Stage,
    Sum,
    Text,
    Uint,
    Uuid,
)
from db.journal.append import Actor
from db.journal.audit.entries import SubjectErased
from db.journal.entries import fact_of, read_entries
from db.registry import Registry


class Applied(Entry):
    """Somebody applied."""

    __domain__ = "club"
    applicant = Uuid()
    amount = Uint()
    wishes = Json()
    full_name = Personal(Text(), of="applicant")
    age = Personal(Uint(8), of="applicant")


class Decided(Entry):
    """Somebody decided."""

    __domain__ = "club"
    applicant = Uuid()
    amount = Uint()
    reason = Text()

    readable_by = EVERYONE


def _last(state, fact):
    return {"n": (state or {"n": 0})["n"] + 1, "last": fact.event}


class Application(Projection):
    """One row per applicant."""

    __domain__ = "club"
    applicant = Key()
    amount = Sum(Applied.amount, -Decided.amount)
    times = Count(Applied)
    reasons = CountDistinct(Decided.reason)
    first = First(Applied.amount)
    reason = Latest(Decided.reason)
    status = Stage(([""], Applied, "applied"), (["applied"], Decided, "decided"))
    log = Replay(_last, Applied, Decided)


class Turnout(Projection):
    """One row per amount."""

    __domain__ = "club"
    amount = Key()
    times = Count(Applied)

    readable_by = (Role.AUDITOR,)


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OFFICER = Actor("officer", tenant="club", address="192.0.2.1", agent="browser")
ANNA, BEN = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
REGISTRY = Registry.of([Applied, Decided, SubjectErased], [Application, Turnout])


def apply_(applicant, amount, **more):
    """Somebody applies, with the name and the age that tests do not care about."""
    values = {"wishes": {"seat": "window"}, "full_name": "A. Person", "age": 40}
    return Applied(applicant=applicant, amount=amount, **{**values, **more})


def facts_of(engine, registry):
    """The entries as facts, read from the journal itself."""
    with engine.connect() as connection:
        return [
            fact_of(registry.events[row.kind], row, digest)
            for row, digest in read_entries(connection)
        ]
