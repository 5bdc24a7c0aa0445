"""The memory of what was signed for each nonce, written before it is signed.

One transaction decides and remembers, under the lock of the account's row of the day,
so that any number of processes agree; the primary key is the second net.

These rows may live in a database of their own, which a restored backup of the index
does not reach: then even a write side that forgot what it did cannot have two different
calls signed for one nonce.
"""

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.commands.states import FAR_NONCES
from db.commands.stops import stopped
from db.control import (
    child,
    signed,
    signing_day,
    signing_from,
    source,
)

# The highest nonce below one that is known to be used; NULL: nothing is known.
_KNOWN = text(
    """
    SELECT greatest(
        (SELECT max(s.nonce) FROM control.signed s
            WHERE s.chain = :chain AND s.address = :address AND s.nonce < :nonce),
        (SELECT max(t.nonce) FROM control.sender_transaction t
            JOIN control.source c ON c.id = t.source
            WHERE c.chain_id = 'eip155:' || cast(:chain AS bigint)
                AND t.sender = :address),
        (SELECT f.nonce - 1 FROM control.signing_from f
            WHERE f.chain = :chain AND f.address = :address)
    )
    """
)


class Decision(enum.Enum):
    """Whether something may be signed, or what forbids it."""

    YES = "yes"
    STOPPED = "stopped"
    CONFLICT = "conflict"
    VALUE = "value"
    GAS = "gas"
    FAR = "far"


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A transaction to be signed; `gas_cost` is the most that it may cost, in wei."""

    signer: str
    chain: int
    address: bytes
    nonce: int
    is_self_transfer: bool
    digest: bytes
    value: int
    gas_cost: int


@dataclass(frozen=True, slots=True)
class SpendingLimits:
    """The most that an account may spend in a day (UTC), in wei; None: no limit."""

    value_per_day: int | None = None
    gas_per_day: int | None = None


def remember(
    connection: Connection,
    request: SigningRequest,
    limits: SpendingLimits,
    now: datetime,
) -> Decision:
    """Decide whether a transaction may be signed, and if so remember that it was.

    For a nonce one call is signed, with whatever fee, and a transfer of nothing to
    itself, which gives the nonce up. Once that was signed first, no call is any more:
    whoever asks for one then is mistaken. A value counts once for a nonce, for only one
    of its transactions can be mined; gas by the dearest.

    A nonce far beyond those that are known to be used is not signed: all between would
    have to be used up for it.
    """
    if stopped(connection, request.signer) is not None:
        return Decision.STOPPED
    spent = _lock_day(connection, request, now)
    before = connection.execute(
        select(signed).where(
            signed.c.chain == request.chain, signed.c.address == request.address,
            signed.c.nonce == request.nonce,
        )
    ).all()  # fmt: skip
    if not before and _is_far(connection, request):
        return Decision.FAR
    same = [row for row in before if row.is_self_transfer == request.is_self_transfer]
    if any(bytes(row.digest) != request.digest for row in same):
        return Decision.CONFLICT
    if not same and before and not request.is_self_transfer:
        return Decision.CONFLICT
    dearest = max((int(row.gas_cost) for row in before), default=0)
    value = 0 if same else request.value
    gas = max(0, request.gas_cost - dearest)
    decision = _within(spent, value, gas, limits)
    if decision is Decision.YES:
        _write(connection, request, value, gas, now)
    return decision


def look(
    connection: Connection,
    request: SigningRequest,
    limits: SpendingLimits,
    now: datetime,
) -> Decision:
    """Return what `remember` would for a new nonce; nothing is remembered."""
    if stopped(connection, request.signer) is not None:
        return Decision.STOPPED
    row = connection.execute(
        select(signing_day.c.value, signing_day.c.gas_cost).where(
            signing_day.c.chain == request.chain,
            signing_day.c.address == request.address,
            signing_day.c.day == _day(now),
        )
    ).first()  # fmt: skip
    spent = (0, 0) if row is None else (int(row.value), int(row.gas_cost))
    return _within(spent, request.value, request.gas_cost, limits)


def sign_from(connection: Connection, chain: int, address: bytes, nonce: int) -> None:
    """Believe a person that an account has used all nonces below one."""
    statement = upsert(signing_from).values(chain=chain, address=address, nonce=nonce)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["chain", "address"], set_={"nonce": nonce}
        )
    )


def after_last_signed(connection: Connection, chain: int, address: bytes) -> int:
    """The nonce after the highest that was signed for an account; 0: none was."""
    query = select(func.max(signed.c.nonce)).where(
        signed.c.chain == chain, signed.c.address == address
    )
    last = connection.execute(query).scalar()
    return 0 if last is None else int(last) + 1


def is_child(
    connection: Connection, chain_id: str, contract: str, address: bytes
) -> bool:
    """Whether the index has seen a factory announce an address as such a contract."""
    query = (
        select(child.c.address)
        .join(source, source.c.id == child.c.source)
        .where(
            source.c.chain_id == chain_id, child.c.contract == contract,
            child.c.address == address,
        )
    )  # fmt: skip
    return connection.execute(query).first() is not None


def _is_far(connection: Connection, request: SigningRequest) -> bool:
    """Whether nothing that is known has come near a nonce.

    Known are the nonces that were signed below it, those of the account that the index
    of this database has seen, and what a person said.
    """
    values = {
        "chain": request.chain,
        "address": request.address,
        "nonce": request.nonce,
    }
    known = connection.execute(_KNOWN, values).scalar()
    return known is not None and request.nonce > int(known) + FAR_NONCES


def _lock_day(
    connection: Connection, request: SigningRequest, now: datetime
) -> tuple[int, int]:
    """Lock the account's day until commit, and return what it spent today."""
    statement = upsert(signing_day).values(
        chain=request.chain, address=request.address, day=_day(now)
    )
    row = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["chain", "address", "day"],
            set_={"day": statement.excluded.day},
        ).returning(signing_day.c.value, signing_day.c.gas_cost)
    ).one()
    return int(row.value), int(row.gas_cost)


def _within(
    spent: tuple[int, int], value: int, gas: int, limits: SpendingLimits
) -> Decision:
    bounds = (
        (value, spent[0], limits.value_per_day, Decision.VALUE),
        (gas, spent[1], limits.gas_per_day, Decision.GAS),
    )
    for more, before, most, decision in bounds:
        if more and most is not None and before + more > most:
            return decision
    return Decision.YES


def _write(
    connection: Connection, request: SigningRequest, value: int, gas: int, now: datetime
) -> None:
    statement = upsert(signed).values(
        chain=request.chain, address=request.address, nonce=request.nonce,
        is_self_transfer=request.is_self_transfer, digest=request.digest,
        value=request.value, gas_cost=request.gas_cost, signed_at=now,
    )  # fmt: skip
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["chain", "address", "nonce", "is_self_transfer"],
            set_={
                "times": signed.c.times + 1,
                "gas_cost": func.greatest(
                    signed.c.gas_cost, statement.excluded.gas_cost
                ),
            },
        )
    )
    if value or gas:
        connection.execute(
            update(signing_day)
            .where(
                signing_day.c.chain == request.chain,
                signing_day.c.address == request.address,
                signing_day.c.day == _day(now),
            )
            .values(
                value=signing_day.c.value + value,
                gas_cost=signing_day.c.gas_cost + gas,
            )
        )


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()
