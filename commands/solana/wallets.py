"""The lane of clients of a Solana cluster that hold their own keys.

`signer = CALLER` commands are answered with the message to sign. What the wallet signed
comes back to `relay_signed`, is compared with what was asked, kept, and only then sent.
What the wallet sends by itself is found: a node tells what the wallet sent, the bytes
prove by their signature and the command's id that they are what was asked, and whether
they landed is said by the index alone.
"""

import base64
import logging
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from solders.instruction import Instruction
from solders.message import MessageV0, to_bytes_versioned

from commands.errors import BadTransaction, NodeAway
from commands.solana.asked import (
    carries_out,
    check_signed,
    command_named,
    compile_asked,
)
from commands.solana.context import Policy
from commands.solana.messages import WalletTransaction, flags_of, read_transaction
from commands.solana.past import Undertaker
from commands.solana.transaction import Budget, with_margin, writable_of
from commands.submit import CommandService
from db import sources
from db.commands.accept import CommandRow, find
from db.commands.solana.attempts import SignedTransaction, note_answer
from db.commands.solana.memory import GivenSignature
from db.commands.solana.resolve import Look, open_of_wallets
from db.commands.solana.wallets import (
    WalletLook,
    is_kept,
    note_found,
    note_looked,
    over,
    settle_wallet_command,
    store_signed,
    unknown_of,
    wallets_to_look_at,
)
from db.commands.states import State
from db.commands.watching import RELAY, watch_no_more
from db.declare.solana.call import SolanaCallSpec
from idl.base58 import to_base58

if TYPE_CHECKING:
    from commands.solana.lane import SolanaLane

LOOK_EVERY = timedelta(seconds=10)
LOOKS_MOST = 20  # wallets that one pass looks at
POLICY = Policy()  # when bytes are sent again, and when they may be past

log = logging.getLogger(__name__)


def unsigned(
    service: CommandService, lane: "SolanaLane", row: CommandRow
) -> dict[str, Any]:
    """Return what the wallet of a command is to sign now; raises NodeAway."""
    assert row.sender is not None
    writable = writable_of(Instruction.from_bytes(row.data), row.sender)
    price = min(lane.node.priority_fee(writable), lane.extras.price_max)
    budget = Budget(with_margin(row.gas_limit, POLICY.margin_percent), price)
    recent = lane.node.blockhash()
    message = compile_asked(row.data, row.id, row.sender, recent.hash, budget)
    return {
        "message": base64.b64encode(to_bytes_versioned(message)).decode(),
        "version": 0,
        "feePayer": to_base58(row.sender),
        "blockhash": to_base58(recent.hash),
        "lastValidBlockHeight": recent.last_valid,
        "fee": str(budget.fee(1)),
        "instructions": _described(service, row, message),
    }


def relay_signed(
    service: CommandService, lane: "SolanaLane", row: CommandRow, raw: bytes
) -> CommandRow:
    """Keep and send what the wallet signed for a command.

    Raises BadTransaction unless it is what was asked for and may still land,
    AlreadyEnded, NonceConflict while another that was signed for it may land, NodeAway.
    """
    assert row.sender is not None
    if row.kind == RELAY:
        raise BadTransaction(
            "this was relayed as it was signed, and takes no other transaction: give "
            "another one to POST /relay"
        )
    signed = read_transaction(raw)
    added = check_signed(signed, row.data, row.id, row.sender, lane.extras)
    with service.engine.connect() as connection:
        if is_kept(connection, row, signed.signature):
            return row
    if lane.node.cannot_land(signed.signature, signed.blockhash):
        raise BadTransaction(
            f"its blockhash {to_base58(signed.blockhash)} is too old: ask for the "
            "command again (GET /commands/<id>), sign the `message` that it has then, "
            "and give that back within a minute"
        )
    # It is older than the newest one: what that is valid for is enough for it.
    last_valid = lane.node.blockhash().last_valid
    fee = added.budget.fee(1) + added.lamports
    made = _made(signed, row, last_valid, fee)
    with service.engine.begin() as connection:
        row = store_signed(connection, row.id, made, service.clock())
    if row.state is State.SIGNED:
        send(service, lane, signed.signature, raw)
    return row


def work_wallets(service: CommandService, lane: "SolanaLane") -> Iterator[str]:
    """One pass over the commands of wallets: find, settle, send again, let go."""
    yield from _find_sent(service, lane)
    with service.engine.connect() as connection:
        found = open_of_wallets(connection, lane.source, service.clock())
    for look in found:
        if _is_news(look):
            _settle(service, look.attempt.command)
            yield "settled"
    yield from _undertaker(service, lane).look(found)
    with service.engine.connect() as connection:
        ended = over(connection, lane.source, service.clock())
    for command_id in ended:
        _settle(service, command_id)
        yield "settled"
    with service.engine.begin() as connection:
        before = service.clock() - service.terms.afterwards
        watch_no_more(connection, lane.source, before)
    for look in found:
        open_ = look.landed is None and look.attempt.past_slot is None
        if look.state is State.SIGNED and open_ and look.due:
            if not send(service, lane, look.attempt.signature, look.attempt.raw):
                return  # the node is away: it would be the same with each
            yield "sent"


def _find_sent(service: CommandService, lane: "SolanaLane") -> Iterator[str]:
    """Look for what wallets sent by themselves, each once in a while."""
    before = service.clock() - LOOK_EVERY
    with service.engine.connect() as connection:
        wallets = wallets_to_look_at(connection, lane.source, before, LOOKS_MOST)
    for wallet in wallets:
        try:
            yield from _look_at(service, lane, wallet)
        except NodeAway as error:
            log.warning("wallet_not_looked_at lane=%s cause=%s", lane.name, error)
            return


def _look_at(
    service: CommandService, lane: "SolanaLane", wallet: WalletLook
) -> Iterator[str]:
    """Keep what a wallet sent for a command and the index lists; raises NodeAway."""
    with service.engine.connect() as connection:
        final = sources.by_id(connection, lane.source).final
    sent = lane.node.sent_by(wallet.address, max(0, wallet.since))
    yield "looked"
    with service.engine.connect() as connection:
        new = unknown_of(
            connection, lane.source, wallet, [each.signature for each in sent]
        )
    for signature in new:
        raw = lane.node.transaction(signature)
        if raw is None:
            return  # a node that is behind: it is looked at again
        if _keep_found(service, lane, wallet.address, signature, raw):
            yield "found"
    with service.engine.begin() as connection:
        note_looked(connection, lane.source, wallet.address, final, service.clock())
    yield "looked at"


def _keep_found(
    service: CommandService,
    lane: "SolanaLane",
    wallet: bytes,
    signature: bytes,
    raw: bytes,
) -> bool:
    """Keep a transaction of a wallet if it carries out a command; whether it is new."""
    try:
        signed = read_transaction(raw)
    except BadTransaction:
        return False
    command_id = command_named(signed.steps)
    if command_id is None or wallet not in signed.signers:
        return False
    if signed.signature != signature:
        return False  # the node told of another one than was asked for
    with service.engine.connect() as connection:
        row = find(connection, command_id)
    if row is None or (row.source, row.sender) != (lane.source, wallet):
        return False
    if row.kind == RELAY:
        return False  # it was for what we were given, and for nothing else
    if not carries_out(signed, row.data, row.id):
        return False
    # It has landed, so that its blockhash is older than the newest one.
    made = _made(signed, row, lane.node.blockhash().last_valid, 0)
    with service.engine.begin() as connection:
        return note_found(connection, row.id, made, service.clock())


def _made(
    signed: WalletTransaction, row: CommandRow, last_valid: int, fee: int
) -> SignedTransaction:
    """Return what is stored: it has the command's id, and cannot be older than that."""
    given = GivenSignature(signed.signature, row.seen_from, last_valid)
    return SignedTransaction(signed.raw, given, fee)


def _is_news(look: Look) -> bool:
    """Whether the index shows of an attempt what its command does not tell."""
    if look.landed is None:
        return look.state is State.INCLUDED
    waits = look.state in (State.ACCEPTED, State.SIGNED, State.INCLUDED)
    return look.final or (waits and look.state is not State.INCLUDED)


def _settle(service: CommandService, command_id: uuid.UUID) -> None:
    """Bring a command up to date, with the errors that its declaration retries."""
    with service.engine.connect() as connection:
        row = find(connection, command_id)
    call = None if row is None else _call_of(service, row)
    with service.engine.begin() as connection:
        settle_wallet_command(
            connection, command_id, service.clock(),
            retried=frozenset() if call is None else call.retried,
        )  # fmt: skip


def _undertaker(service: CommandService, lane: "SolanaLane") -> Undertaker:
    return Undertaker(
        service.engine, lane.node, service.clock, POLICY.look_after,
        f"wallets of {lane.name}",
    )  # fmt: skip


def send(
    service: CommandService, lane: "SolanaLane", signature: bytes, raw: bytes
) -> bool:
    """Send bytes and record the answer; whether a node answered."""
    there = True
    try:
        answer = lane.node.send(raw).text
    except NodeAway as error:
        there, answer = False, str(error)
        log.warning("relay_not_sent hash=%s cause=%s", to_base58(signature), error)
    now = service.clock()
    again = now + POLICY.rebroadcast_after
    with service.engine.begin() as connection:
        note_answer(connection, signature, answer, now, again_at=again)
    return there


def _call_of(service: CommandService, row: CommandRow) -> SolanaCallSpec | None:
    command = service.registry.commands.get(row.kind)
    call = None if command is None else command.spec.call
    return call if isinstance(call, SolanaCallSpec) else None


def _described(
    service: CommandService, row: CommandRow, message: MessageV0
) -> list[dict[str, Any]]:
    """Return the instructions of a message, ours with its names."""
    keys, flags = [bytes(key) for key in message.account_keys], flags_of(message)
    call = _call_of(service, row)
    found = []
    for each in message.instructions:
        program = keys[each.program_id_index]
        is_ours = program == row.target and call is not None
        names = [ref.name for ref in call.layout.accounts] if is_ours and call else []
        accounts = []
        for at, place in enumerate(bytes(each.accounts)):
            signs, written = flags[keys[place]]
            accounts.append(
                {
                    "name": names[at] if at < len(names) else None,
                    "address": to_base58(keys[place]),
                    "signer": signs,
                    "writable": written,
                }
            )
        found.append(
            {
                "program": to_base58(program),
                "name": f"{call.contract}.{call.layout.name}"
                if is_ours and call
                else None,
                "accounts": accounts,
                "data": base64.b64encode(bytes(each.data)).decode(),
            }
        )
    return found
