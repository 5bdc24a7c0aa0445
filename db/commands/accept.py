"""Accept commands: one for each idempotency key."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from db.commands.errors import KeyReused
from db.commands.spelling import transaction_text
from db.commands.states import TERMINAL, State, check_move
from db.commands.watching import watch_on
from db.control import command, command_event
from db.engine import sqlstate
from db.journal.append import CALL, OtherDeclarations
from db.records import from_row

_FIND = select(command).where(command.c.id == bindparam("of_id"))
_LOCK = _FIND.with_for_update()
_KNOWN = select(command).where(
    command.c.tenant == bindparam("of_tenant"),
    command.c.idempotency_key == bindparam("of_key"),
)


# What carries the new command's id can only be above the last final block, as those
# above it may be replaced. While history is read nothing is known to be final, and 1000
# blocks are enough.
_MADE = """
    WITH made AS (
        INSERT INTO control.command (id, tenant, idempotency_key, fingerprint, kind,
            arguments, source, signer, sender, seen_from, asked_by, cause, target, data,
            value, gas_limit, valid_until, state, next_action_at, created_at)
        SELECT :id, :tenant, :idempotency_key, :fingerprint, :kind, :arguments, s.id,
            cast(:signer AS text), cast(:sender AS bytea),
            greatest(s.final, s.head - 1000, 0),
            :asked_by, :cause, :target, :data, :value, :gas_limit,
            cast(:valid_until AS timestamptz), 'accepted', :now, :now
        FROM control.source s WHERE s.id = :source
        ON CONFLICT DO NOTHING
        RETURNING *
    ), noted AS (
        INSERT INTO control.command_event (command, at, state, details)
        SELECT id, created_at, state, '{}' FROM made
    )
    SELECT made.*, pg_notify('chainfold_command', :told)
    FROM made
"""
_TAKE, _TAKE_AND_SAY = (
    text(statement)
    .bindparams(
        bindparam("id", type_=Uuid()),
        bindparam("arguments", type_=JSONB()),
        bindparam("now", type_=DateTime(timezone=True)),
    )
    .columns(*command.columns)
    # The entry's moment is the command's, so that there is none without a command.
    for statement in (_MADE, f"{_MADE}, {CALL}".replace(":moment", "created_at"))
)

# Its new state, the line of its history, and whoever waits for it woken at commit.
_MOVE = (
    text(
        """
    WITH moved AS (
        UPDATE control.command SET state = :state, reason = :reason,
            version = version + 1,
            next_action_at = cast(:next_action_at AS timestamptz),
            transaction = cast(:transaction AS bytea), height = cast(:height AS bigint)
        WHERE id = :id
        RETURNING *
    ), noted AS (
        INSERT INTO control.command_event (command, at, state, details)
        SELECT id, :now, state, :details FROM moved
    )
    SELECT moved.*, pg_notify('chainfold_command', :told)
    FROM moved
    """
    )
    .bindparams(
        bindparam("id", type_=Uuid()),
        bindparam("details", type_=JSONB()),
        bindparam("now", type_=DateTime(timezone=True)),
    )
    .columns(*command.columns)
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was checked and encoded; amounts in wei.

    One of our signers sends it, or the wallet `sender`; what only the journal takes has
    neither, and no target.
    """

    tenant: str
    idempotency_key: str
    kind: str
    arguments: Mapping[str, Any]
    source: int
    signer: str | None = None
    sender: bytes | None = None
    target: bytes = b""
    data: bytes = b""
    value: int = 0
    gas_limit: int = 0
    valid_until: datetime | None = None
    asked_by: str = ""
    cause: str = ""

    def fingerprint(self) -> bytes:
        """Equal for two requests that ask for the same."""
        content = [
            self.kind, self.arguments, self.source, self.signer,
            (self.sender or b"").hex(), self.target.hex(), str(self.value),
        ]  # fmt: skip
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command as it is stored."""

    id: uuid.UUID
    kind: str
    arguments: dict[str, Any]
    source: int
    signer: str | None
    sender: bytes | None
    target: bytes
    data: bytes
    value: int
    gas_limit: int
    valid_until: datetime | None
    state: State
    reason: str
    version: int
    created_at: datetime
    transaction: bytes | None
    height: int | None
    tenant: str
    asked_by: str
    cause: str
    seen_from: int
    late_outcome: str


def accept(
    connection: Connection,
    request: Request,
    now: datetime,
    *,
    command_id: uuid.UUID,
    entry_arguments: Mapping[str, Any] | None = None,
) -> tuple[CommandRow, bool]:
    """Store a command, or find the one that its key stands for; whether it is new.

    The same statement appends its journal entry (`append.append_arguments`), so that in
    autocommit nothing else is needed. Raises KeyReused when the key stands for
    another request, OtherDeclarations when that is not what was expected.
    """
    values = {
        **(entry_arguments or {}),
        "id": command_id,
        "tenant": request.tenant,
        "idempotency_key": request.idempotency_key,
        "fingerprint": request.fingerprint(),
        "kind": request.kind,
        "arguments": dict(request.arguments),
        "source": request.source,
        "signer": request.signer,
        "sender": request.sender,
        "asked_by": request.asked_by,
        "cause": request.cause,
        "target": request.target,
        "data": request.data,
        "value": request.value,
        "gas_limit": request.gas_limit,
        "valid_until": request.valid_until,
        "now": now,
        "told": f"{command_id}:{State.ACCEPTED}",
    }
    try:
        made = connection.execute(
            _TAKE_AND_SAY if entry_arguments else _TAKE, values
        ).first()
    except DBAPIError as error:
        if sqlstate(error) == OtherDeclarations.SQLSTATE:
            raise OtherDeclarations from error
        raise
    if made is None:
        row = known(connection, request)
        assert row is not None
        return row, False
    return as_row(made), True


def known(connection: Connection, request: Request) -> CommandRow | None:
    """Return the command of a request's idempotency key, if there is one.

    Raises KeyReused when it stands for another request.
    """
    binds = {"of_tenant": request.tenant, "of_key": request.idempotency_key}
    row = connection.execute(_KNOWN, binds).first()
    if row is not None and bytes(row.fingerprint) != request.fingerprint():
        raise KeyReused(
            f"the key {request.idempotency_key!r} was used for another request, "
            f"command {row.id}. Use a new key for a new request."
        )
    return None if row is None else as_row(row)


def find_by_key(connection: Connection, tenant: str, key: str) -> CommandRow | None:
    """The command of an idempotency key, whatever was asked for with it."""
    row = connection.execute(_KNOWN, {"of_tenant": tenant, "of_key": key}).first()
    return None if row is None else as_row(row)


def find(connection: Connection, command_id: uuid.UUID) -> CommandRow | None:
    """The command with an id."""
    row = connection.execute(_FIND, {"of_id": command_id}).first()
    return None if row is None else as_row(row)


def history(connection: Connection, command_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return the history of a command, in order: at, state, details."""
    query = (
        select(command_event.c.at, command_event.c.state, command_event.c.details)
        .where(command_event.c.command == command_id)
        .order_by(command_event.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def lock(connection: Connection, command_id: uuid.UUID) -> CommandRow:
    """The command, locked until commit."""
    return as_row(connection.execute(_LOCK, {"of_id": command_id}).one())


def move(
    connection: Connection,
    row: CommandRow,
    new: State,
    now: datetime,
    *,
    reason: str = "",
    **values: Any,
) -> CommandRow:
    """Put a locked command into another state, and write it into its history."""
    check_move(row.state, new)
    details = {"reason": reason} if reason else {}
    for name in ("transaction", "height"):
        if (value := values.get(name)) is not None:
            is_raw = isinstance(value, bytes)
            details[name] = transaction_text(value) if is_raw else value
    moved = connection.execute(
        _MOVE,
        {
            "id": row.id, "state": new, "reason": reason, "now": now,
            "transaction": row.transaction, "height": row.height,
            "next_action_at": None if new in TERMINAL else now, **values,
            "details": details, "told": f"{row.id}:{new}",
        },
    ).one()  # fmt: skip
    if row.sender is not None and new in TERMINAL - {State.SUCCEEDED}:
        watch_on(connection, row.id, now)
    return as_row(moved)


def record(
    connection: Connection,
    command_id: uuid.UUID,
    state: State,
    details: Mapping[str, Any],
    now: datetime,
) -> None:
    """Record an event in a command's history without a new state; notifies waiters."""
    notified = func.pg_notify("chainfold_command", f"{command_id}:{state}")
    connection.execute(
        insert(command_event)
        .values(command=command_id, at=now, state=state, details=dict(details))
        .returning(notified)
    )


def as_row(row: Any) -> CommandRow:
    """A command from a row of its table."""
    return from_row(CommandRow, row, state=State(row.state))
