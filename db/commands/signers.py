"""Signers by name: a key on one chain, whether it is paused, and what it waits for."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from db.commands.states import Hold
from db.control import signer
from db.records import from_row

_LOCK_SIGNER = (
    select(signer).where(signer.c.name == bindparam("name")).with_for_update()
)


@dataclass(frozen=True, slots=True)
class SignerRow:
    """A key by name, on one chain; never the key itself."""

    name: str
    source: int
    address: bytes
    first_nonce: int
    next_nonce: int
    gate_height: int
    paused: bool
    reason: str
    max_in_flight: int
    checked_nonce: int = 0
    hold: Hold = Hold.NO
    hold_reason: str = ""


def find_signer(connection: Connection, name: str) -> SignerRow | None:
    """The signer with a name."""
    row = connection.execute(select(signer).where(signer.c.name == name)).first()
    return None if row is None else as_signer(row)


def ours_among(
    connection: Connection, addresses: Collection[bytes]
) -> dict[bytes, str]:
    """Return those addresses that are of our signers, each with a signer's name."""
    query = select(signer.c.address, signer.c.name).where(
        signer.c.address.in_(addresses)
    )
    return {bytes(address): name for address, name in connection.execute(query)}


def pause(connection: Connection, name: str, *, paused: bool, reason: str = "") -> None:
    """Halt a signer, so that it signs and sends nothing, or let it go on."""
    connection.execute(
        update(signer).where(signer.c.name == name).values(paused=paused, reason=reason)
    )


def set_hold(connection: Connection, name: str, hold: Hold, reason: str = "") -> None:
    """Remember what keeps a signer from new nonces; `Hold.NO`: nothing any more."""
    connection.execute(
        update(signer)
        .where(signer.c.name == name)
        .values(hold=hold, hold_reason=reason[:500])
    )


def lock_signer(connection: Connection, name: str) -> SignerRow:
    """The signer, locked until commit: nothing else moves its nonces."""
    return as_signer(connection.execute(_LOCK_SIGNER, {"name": name}).one())


def as_signer(row: Any) -> SignerRow:
    """A signer from a row of its table."""
    return from_row(SignerRow, row, hold=Hold(row.hold))
