"""The lanes of clients that hold their own keys.

`signer = CALLER` commands are answered with the transaction to sign. What the wallet
signed comes back to `relay_signed`, is compared with what was asked, kept, and only
then sent. `relay_any` takes any signed call of a contract that is followed. What a
wallet was asked to sign it may send at any time, whatever has become of the command.
"""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from commands.errors import BadTransaction, NodeAway
from commands.evm.raw import RawTransaction, read_raw
from commands.evm.reasons import why_failed
from commands.submit import CommandService, Submission, new_id
from db import sources
from db.commands.accept import CommandRow, Request, accept, known
from db.commands.evm.failures import failed_of_wallet
from db.commands.evm.tags import command_id_of
from db.commands.evm.unprocessed import mark_processed, unprocessed
from db.commands.evm.wallets import (
    bound_nonce,
    note_relayed,
    relayed_before,
    settle_wallet_command,
    store_relay,
    to_relay_again,
    unsettled,
)
from db.commands.states import State
from db.commands.watching import RELAY, watch_no_more

if TYPE_CHECKING:
    from commands.evm.lane import EvmLane

SEND_AGAIN = timedelta(seconds=10)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The transaction that a wallet is asked to sign; amounts and prices in wei."""

    chain_id: int
    sender: bytes
    nonce: int
    gas_price: int
    gas: int
    to: bytes
    value: int
    data: bytes

    def as_json(self) -> dict[str, Any]:
        """As `eth_signTransaction` takes it (Ethereum JSON-RPC specification)."""
        return {
            "chainId": hex(self.chain_id),
            "from": "0x" + self.sender.hex(),
            "nonce": hex(self.nonce),
            "gasPrice": hex(self.gas_price),
            "gas": hex(self.gas),
            "to": "0x" + self.to.hex(),
            "value": hex(self.value),
            "data": "0x" + self.data.hex(),
        }


def unsigned(service: CommandService, lane: "EvmLane", row: CommandRow) -> Unsigned:
    """Return what the wallet of a command is to sign now; raises NodeAway.

    Where it was signed before and may still run, with the same nonce: as replacement.
    """
    assert row.sender is not None
    with service.engine.connect() as connection:
        final = sources.by_id(connection, row.source).final
        nonce = bound_nonce(connection, row.id, final)
    return Unsigned(
        chain_id=lane.chain_id,
        sender=row.sender,
        nonce=lane.node.nonce(row.sender) if nonce is None else nonce,
        gas_price=lane.node.gas_price(),
        gas=row.gas_limit,
        to=row.target,
        value=row.value,
        data=row.data,
    )


def relay_signed(
    service: CommandService, lane: "EvmLane", row: CommandRow, raw: bytes
) -> CommandRow:
    """Keep and send what the wallet signed for a command.

    Raises BadTransaction unless it is exactly what was asked for, AlreadyEnded, and
    NonceConflict while it may still run with a nonce that was signed before.
    """
    signed = read_raw(raw)
    wrong = [
        f"{name} is {_shown(given)} and must be {_shown(asked)}"
        for name, given, asked in (
            ("chainId", signed.chain_id, lane.chain_id),
            ("from", signed.sender, row.sender),
            ("to", signed.to, row.target),
            ("value", signed.value, row.value),
            ("data", signed.data, row.data),
        )
        if given != asked
    ]
    if wrong:
        raise BadTransaction(
            f"this is not what was asked: {'; '.join(wrong)}. Sign `transaction` of "
            "the command as it is; only nonce, gas and prices are yours to choose."
        )
    if row.transaction != signed.hash:
        _check_nonce(service, lane, signed, row)
    with service.engine.begin() as connection:
        row = _keep(service, lane, connection, row, signed)
    if row.state is State.SIGNED:
        _send(service, lane, signed.hash, signed.raw)
    return row


def relay_any(
    service: CommandService, lane: "EvmLane", raw: bytes, asked: Submission
) -> tuple[CommandRow, bool]:
    """Keep and send any signed call of a contract that is followed.

    The same bytes are one command for an account, whatever their key. Raises
    BadTransaction, KeyReused, TooManyWaiting, and NodeAway: nothing but the node tells
    whether the nonce was used before.
    """
    signed = read_raw(raw)
    _check_relayable(service, lane, signed)
    request = Request(
        tenant=asked.actor.tenant,
        idempotency_key=asked.idempotency_key,
        kind=RELAY,
        arguments={"hash": "0x" + signed.hash.hex()},
        source=lane.source,
        sender=signed.sender,
        target=signed.to,
        data=signed.data,
        value=signed.value,
        gas_limit=signed.gas,
        asked_by=asked.actor.name,
        valid_until=service.clock() + service.terms.valid,
    )
    with service.engine.connect() as connection:
        before = known(connection, request)
        before = before or relayed_before(connection, request.tenant, signed.hash)
    if before is not None:
        return before, False
    following = lane.node.nonce(signed.sender)
    with service.engine.begin() as connection:
        before = relayed_before(connection, request.tenant, signed.hash)
        if before is not None:
            return before, False
        if signed.nonce < following:
            raise _used(signed, following)
        service.check_room(connection, request)
        row, fresh = accept(connection, request, service.clock(), command_id=new_id())
        if fresh:
            row = _keep(service, lane, connection, row, signed)
            service.note_accepted(connection, asked.actor, row)
    if fresh:
        _send(service, lane, signed.hash, signed.raw)
    return row, fresh


def _check_relayable(
    service: CommandService, lane: "EvmLane", signed: RawTransaction
) -> None:
    """Raise BadTransaction for what is not relayed on this chain."""
    if signed.chain_id != lane.chain_id:
        raise BadTransaction(
            f"it is signed for chain {signed.chain_id}, and this is {lane.chain_id}"
        )
    if command_id_of(signed.data) is not None:
        raise BadTransaction(
            "it carries the id of a command: send it to that command's /signed"
        )
    if not _is_known(service, lane, signed.to):
        raise BadTransaction(
            f"0x{signed.to.hex()} is not a contract that is followed: only calls of "
            "those are relayed"
        )


def work_wallets(service: CommandService, lane: "EvmLane") -> Iterator[str]:
    """One pass over the commands of wallets: settle them, and send again.

    What carries the id of a command that has ended is told beside its state.
    """
    with service.engine.connect() as connection:
        final = sources.by_id(connection, lane.source).final
        waiting = unsettled(connection, lane.source, service.clock())
    for command_id in waiting:
        _settle(service, lane, command_id, final)
        yield "settled"
    with service.engine.connect() as connection:
        found = unprocessed(connection, lane.source, final)
    for position, command_id in found.commands:
        _settle(service, lane, command_id, final)
        with service.engine.begin() as connection:
            mark_processed(connection, lane.source, [position])
        yield "processed"
    with service.engine.begin() as connection:
        if found.others:
            mark_processed(connection, lane.source, found.others)
        before = service.clock() - service.terms.afterwards
        watch_no_more(connection, lane.source, before)
    with service.engine.connect() as connection:
        due = to_relay_again(connection, lane.source, service.clock() - SEND_AGAIN)
    for hash_, raw in due:
        if not _send(service, lane, hash_, raw):
            return  # the node is away: it would be the same with each
        yield "sent"


def _settle(
    service: CommandService, lane: "EvmLane", command_id: uuid.UUID, final: int
) -> None:
    """Bring a command up to date, with the reason if its call reverted."""
    with service.engine.connect() as connection:
        failed = failed_of_wallet(connection, command_id, final)
    why = "" if failed is None else why_failed(lane.node, failed)
    with service.engine.begin() as connection:
        settle_wallet_command(
            connection, command_id, final=final, now=service.clock(), why=why
        )


def _keep(
    service: CommandService,
    lane: "EvmLane",
    connection: Connection,
    row: CommandRow,
    signed: RawTransaction,
) -> CommandRow:
    return store_relay(
        connection, row.id,
        raw=signed.raw, hash_=signed.hash, nonce=signed.nonce, now=service.clock(),
    )  # fmt: skip


def _send(service: CommandService, lane: "EvmLane", hash_: bytes, raw: bytes) -> bool:
    """Send bytes and record the answer; whether a node answered."""
    there = True
    try:
        answer = lane.node.send(raw).text
    except NodeAway as error:
        there, answer = False, str(error)
        log.warning("relay_not_sent hash=0x%s cause=%s", hash_.hex(), error)
    with service.engine.begin() as connection:
        note_relayed(connection, hash_, answer, service.clock())
    return there


def _check_nonce(
    service: CommandService, lane: "EvmLane", signed: RawTransaction, row: CommandRow
) -> None:
    """Raise BadTransaction where the nonce was used before the command was there.

    One that was used since may have been for it: the index will tell. A node that is
    away, or does not know, refuses nothing.
    """
    try:
        following = lane.node.nonce(signed.sender, row.seen_from)
    except NodeAway:
        return
    if signed.nonce < following:
        raise _used(signed, following)


def _used(signed: RawTransaction, following: int) -> BadTransaction:
    return BadTransaction(
        f"nonce {signed.nonce} of 0x{signed.sender.hex()} was used already: unless it "
        f"was for the same, sign it again with nonce {following} or a later one"
    )


def _is_known(service: CommandService, lane: "EvmLane", address: bytes) -> bool:
    if address in lane.addresses.values():
        return True
    with service.engine.connect() as connection:
        return sources.is_child(connection, lane.source, address)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        text = "0x" + value.hex()
        return text if len(text) <= 74 else f"{text[:71]}…"
    return str(value)
