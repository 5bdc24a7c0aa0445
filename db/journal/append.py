"""Appending an entry: chained, stored, its fact and its rows written, or none of it.

    with engine.begin() as connection:
        accept(connection, …)
        append(connection, registry, CommandAccepted(…), actor=actor, now=now)

It happens in the caller's transaction. Appends wait for each other from here to the
commit, so it is best done last; a transaction that is undone leaves no gap. Facts come
in order and one at a time, so rows are always gone on from and never recomputed.

The entry gets its place, its hash and its fact in one call of a function in Postgres
(`db/sql/functions/append_entry.sql`): a statement that appends at its end, in
autocommit, holds the journal for no round trip at all.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from db.declare import Entry, FieldKind
from db.errors import DatabaseError
from db.folding import fold_next
from db.journal.canonical import EntryContent, plain
from db.journal.head import SOURCE, lock_head
from db.journal.keys import encrypt
from db.position import position
from db.registry import Registry
from db.schema import check_journal

_ARGUMENTS = (
    "expected", "moment", "of_kind", "by_actor", "of_tenant", "from_address",
    "with_agent", "signed_with", "said", "about", "sealed", "opening", "middle",
    "joint", "closing", "relation", "fact",
)  # fmt: skip
# `control.append_entry` of what `append_arguments` gives, as a part of some statement.
CALL = f"control.append_entry({', '.join(f':{name}' for name in _ARGUMENTS)})"
_APPEND = text(f"SELECT * FROM {CALL}")  # noqa: S608 - our own names


class OtherDeclarations(DatabaseError):
    """The tables are those of declarations that an entry did not expect."""

    SQLSTATE = "CF001"


class UnknownEntry(DatabaseError):
    """An entry is not among the declarations that the tables were built from."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of an entry: account, tenant, address and user agent."""

    name: str
    tenant: str = ""
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Appended:
    """The place of an entry in the journal."""

    seq: int
    hash: bytes
    at: datetime

    @property
    def position(self) -> int:
        """Its position as a fact."""
        return position(self.seq, 0)


def append(
    connection: Connection,
    registry: Registry,
    entry: Entry,
    *,
    actor: Actor,
    now: datetime,
    signature: bytes | None = None,
) -> Appended:
    """Append an entry in the caller's transaction.

    Its time is `now`, or that of the entry before if that is later: time never goes
    back in the journal. `signature` is a wallet's, kept as it is. Raises ValueError for
    values that have no canonical form.
    """
    values = append_arguments(
        connection, registry, entry, actor=actor, now=now, signature=signature
    )
    row = connection.execute(_APPEND, values).one()
    if row.declared != registry.journal_print:
        check_journal(connection, registry, entry.spec.id)
    fold_next(connection, registry, SOURCE, row.entry, entry.spec.id)
    return Appended(row.entry, bytes(row.entry_hash), row.said_at)


def append_arguments(
    connection: Connection,
    registry: Registry,
    entry: Entry,
    *,
    actor: Actor,
    now: datetime,
    signature: bytes | None = None,
    expected: str | None = None,
) -> dict[str, Any]:
    """The arguments of `control.append_entry`, by name.

    `expected` names the declarations that the tables must be of; None: who appends
    compares them. The head is held from here on when the entry has personal values.
    """
    spec = entry.spec
    if registry.events.get(spec.id) is not type(entry):
        raise UnknownEntry(
            f"{spec.id} is not declared: put it into entries.py of a domain"
        )
    subject = entry.about
    personal = None if subject is None else _sealed(connection, entry, subject, now)
    content = EntryContent(
        kind=spec.id,
        actor=_storable(actor.name), tenant=_storable(actor.tenant),
        address=_storable(actor.address), agent=_storable(actor.agent),
        signature=signature, subject=subject, personal=personal,
        body={name: plain(f, entry.values[name]) for name, f in spec.fields.items()},
    )  # fmt: skip
    opening, middle, joint, closing = content.around()
    return {
        "opening": opening, "middle": middle, "joint": joint, "closing": closing,
        "expected": expected, "moment": now.astimezone(UTC), "of_kind": content.kind,
        "by_actor": content.actor, "of_tenant": content.tenant,
        "from_address": content.address, "with_agent": content.agent,
        "signed_with": signature, "said": json.dumps(content.body),
        "about": subject, "sealed": personal,
        "relation": spec.table, "fact": json.dumps(_as_fact(entry, content.body)),
    }  # fmt: skip


def _sealed(connection: Connection, entry: Entry, subject: str, now: datetime) -> bytes:
    """The personal values, encrypted for the place that the entry will have."""
    spec, head = entry.spec, lock_head(connection)
    values = {n: plain(f, entry.personal[n]) for n, f in spec.personal.items()}
    at = max(now.astimezone(UTC), head.at)
    return encrypt(connection, subject, values, kind=spec.id, seq=head.seq + 1, now=at)


def _as_fact(entry: Entry, body: Mapping[str, Any]) -> dict[str, Any]:
    """The values as Postgres reads them from JSON into the columns of the fact."""
    fields = entry.spec.fields
    return {
        name: "\\x" + entry.values[name].hex()
        if fields[name].kind is FieldKind.BYTES
        else value
        for name, value in body.items()
    }


def _storable(text: str) -> str:
    """Return a client's text as Postgres can store it."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
