"""The memory of what was signed for each intent, written before a signature leaves.

One transaction decides and remembers, under a lock of the account, so that any number
of processes agree. These rows may live in a database of their own, which a restored
backup of the index does not reach: then even a write side that forgot what it signed
learns of it before it signs again.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from db.commands.stops import stopped
from db.control import signed_intent, spent_day

LAMPORTS = b""  # the asset that has no mint


@dataclass(frozen=True, slots=True)
class GivenSignature:
    """A signature that was given for an intent, and when it can land.

    From the slot `slot` on, and up to the block height `last_valid`.
    """

    signature: bytes
    slot: int
    last_valid: int


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A message that is to be signed.

    `digest` is of what it does, without its fee and blockhash; `settled` are the
    signatures for the intent that are without effect; `spends` is by mint, or
    `LAMPORTS`.
    """

    signer: str
    chain: str
    address: bytes
    intent: bytes
    digest: bytes
    settled: frozenset[bytes]
    spends: Mapping[bytes, int]


class Decision(enum.Enum):
    """Whether something may be signed, or what forbids it."""

    YES = "yes"
    STOPPED = "stopped"
    CONFLICT = "conflict"
    BUDGET = "budget"


def examine(
    connection: Connection,
    request: SigningRequest,
    limits: Mapping[bytes, int],
    now: datetime,
) -> tuple[Decision, list[GivenSignature]]:
    """Decide whether a message may be signed; the account is locked until commit.

    Also returns what was signed for the intent and is not known to be settled: while
    there is any, nothing more may be signed. `limits` is the most of each asset in a
    day (UTC); what an intent spends counts once.
    """
    if stopped(connection, request.signer) is not None:
        return Decision.STOPPED, []
    key = f"chainfold signing {request.chain} {request.address.hex()}"
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
    connection.execute(lock, {"key": key})
    before = _rows(connection, request.chain, request.address, request.intent)
    if any(bytes(row.digest) != request.digest for row in before):
        return Decision.CONFLICT, []
    open_ = _unsettled(before, request.settled)
    if not before and not _within(connection, request, limits, now):
        return Decision.BUDGET, open_
    return Decision.YES, open_


def remember(
    connection: Connection, request: SigningRequest, made: GivenSignature, now: datetime
) -> None:
    """Keep a signature of a request that was examined in this transaction.

    What the intent spends counts with the first one that is kept.
    """
    is_first = not _rows(connection, request.chain, request.address, request.intent)
    connection.execute(
        insert(signed_intent).values(
            chain=request.chain, address=request.address, intent=request.intent,
            signature=made.signature, digest=request.digest, slot=made.slot,
            last_valid=made.last_valid, signed_at=now,
        )
    )  # fmt: skip
    for asset, amount in request.spends.items() if is_first else ():
        statement = upsert(spent_day).values(
            chain=request.chain, address=request.address, day=_day(now), asset=asset,
            amount=amount,
        )  # fmt: skip
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["chain", "address", "day", "asset"],
                set_={"amount": spent_day.c.amount + amount},
            )
        )


def signed_for(
    connection: Connection,
    chain: str,
    address: bytes,
    intent: bytes,
    settled: frozenset[bytes],
) -> list[GivenSignature]:
    """Return what was signed for an intent and is not known to be settled."""
    return _unsettled(_rows(connection, chain, address, intent), settled)


def spent(
    connection: Connection, chain: str, address: bytes, asset: bytes, now: datetime
) -> int:
    """Return how much of an asset an account was allowed today (UTC)."""
    query = select(func.coalesce(func.sum(spent_day.c.amount), 0)).where(
        spent_day.c.chain == chain, spent_day.c.address == address,
        spent_day.c.day == _day(now), spent_day.c.asset == asset,
    )  # fmt: skip
    return int(connection.execute(query).scalar_one())


def _rows(
    connection: Connection, chain: str, address: bytes, intent: bytes
) -> list[Any]:
    query = select(signed_intent).where(
        signed_intent.c.chain == chain, signed_intent.c.address == address,
        signed_intent.c.intent == intent,
    )  # fmt: skip
    return list(connection.execute(query))


def _unsettled(rows: Iterable[Any], settled: frozenset[bytes]) -> list[GivenSignature]:
    return [
        GivenSignature(bytes(row.signature), row.slot, row.last_valid)
        for row in rows
        if bytes(row.signature) not in settled
    ]


def _within(
    connection: Connection,
    request: SigningRequest,
    limits: Mapping[bytes, int],
    now: datetime,
) -> bool:
    """Whether the day's limits leave room for what a request spends."""
    for asset, amount in request.spends.items():
        most = limits.get(asset)
        if most is None or not amount:
            continue
        before = spent(connection, request.chain, request.address, asset, now)
        if before + amount > most:
            return False
    return True


def _day(now: datetime) -> object:
    return now.astimezone(UTC).date()
