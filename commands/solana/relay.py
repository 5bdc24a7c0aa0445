"""Signed calls of clients that no command of ours asked for: checked, kept and sent.

`relay_any` takes a transaction whose instructions call programs that are followed, with
the guards, fees and limits that wallets may add. It is kept as the one attempt of a
command of the kind `relay`, and sent and settled as all that wallets sign. What could
land for ever, or has landed, or is of our own signers, is refused.
"""

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from sqlalchemy import Connection

from commands.errors import BadTransaction, Refused
from commands.solana import wallets
from commands.solana.asked import command_named
from commands.solana.errors import explain_failure
from commands.solana.extras import SYSTEM, Additions
from commands.solana.messages import Step, WalletTransaction, named, read_transaction
from commands.submit import CommandService, Submission, new_id
from db import sources
from db.commands.accept import CommandRow, Request, accept, known
from db.commands.signers import ours_among
from db.commands.solana.attempts import SignedTransaction
from db.commands.solana.memory import GivenSignature
from db.commands.solana.wallets import relayed_before, store_signed
from db.commands.watching import RELAY
from idl.base58 import to_base58

if TYPE_CHECKING:
    from commands.solana.lane import SolanaLane

UNLISTED = (
    "calls no program that is followed, and is none that a wallet may add: leave it "
    "out, or list the wallet's guards and fees under [wallets.solana]"
)
# Of the system program (solana-system-interface): a transaction whose first instruction
# it is has a nonce's value in the place of a blockhash, and may land at any time.
_ADVANCE_NONCE = struct.pack("<I", 4)
INSTRUCTIONS_MAX = 64  # of a transaction (SIMD-0160)
_NOTHING_KNOWN = 1_000  # slots below the head, while nothing is known to be final

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Relayable:
    """A transaction that may be relayed; `fee` is the most that it costs, in lamports.

    `call` is the first instruction for a program that is followed.
    """

    signed: WalletTransaction
    call: Step
    fee: int

    @property
    def payer(self) -> bytes:
        """The address that pays, and by which the transaction is a wallet's."""
        return self.signed.signers[0]


def calls_of(lane: "SolanaLane", raw: bytes) -> bool:
    """Whether a transaction calls a program that is followed; raises BadTransaction."""
    return any(each.program in lane.followed for each in read_transaction(raw).steps)


def relay_any(
    service: CommandService, lane: "SolanaLane", raw: bytes, asked: Submission
) -> tuple[CommandRow, bool]:
    """Keep and send a signed call of programs that are followed.

    One transaction is one command for an account, whatever its key. Raises
    BadTransaction, Refused where it would fail, KeyReused, TooManyWaiting, NodeAway.
    """
    found = check_relayable(read_transaction(raw), lane)
    signature = found.signed.signature
    request = Request(
        tenant=asked.actor.tenant,
        idempotency_key=asked.idempotency_key,
        kind=RELAY,
        arguments={"signature": to_base58(signature)},
        source=lane.source,
        sender=found.payer,
        target=found.call.program,
        data=_instruction(found),
        asked_by=asked.actor.name,
    )
    with service.engine.begin() as connection:
        before = known(connection, request)
        before = before or relayed_before(connection, request.tenant, signature)
        if before is not None:
            return before, False
        _refuse_ours(connection, found.signed.signers)
        service.check_room(connection, request)
        first = _first_slot(connection, lane.source)
    _check_alive(lane, found.signed)
    request = replace(request, gas_limit=_simulated(lane, found))
    # Its blockhash is older than the newest one: what that is valid for is enough.
    last_valid = lane.node.blockhash().last_valid
    made = SignedTransaction(
        raw, GivenSignature(signature, first, last_valid), found.fee
    )
    with service.engine.begin() as connection:
        before = relayed_before(connection, request.tenant, signature)
        if before is not None:
            return before, False
        service.check_room(connection, request)
        row, fresh = accept(connection, request, service.clock(), command_id=new_id())
        if fresh:
            row = store_signed(connection, row.id, made, service.clock())
            service.note_accepted(connection, asked.actor, row)
    if fresh:
        wallets.send(service, lane, signature, raw)
    return row, fresh


def check_relayable(signed: WalletTransaction, lane: "SolanaLane") -> Relayable:
    """Return what may be relayed; raises BadTransaction, which names what may not."""
    if command_named(signed.steps) is not None:
        raise BadTransaction(
            "it carries the id of a command: send it to that command's /signed"
        )
    for number, step in enumerate(signed.steps, 1):
        if step.program == SYSTEM and step.data[:4] == _ADVANCE_NONCE:
            raise BadTransaction(
                f"instruction {number} is of a durable nonce, with which a transaction "
                "may land at any time: sign it with a recent blockhash, without one"
            )
    if len(signed.steps) > INSTRUCTIONS_MAX:
        raise BadTransaction(
            f"it has {len(signed.steps)} instructions, and {INSTRUCTIONS_MAX} are the "
            "most that a cluster takes: sign several transactions"
        )
    additions = Additions(lane.extras, signed.signers[0], UNLISTED)
    calls = []
    for number, step in enumerate(signed.steps, 1):
        if step.program in lane.followed:
            calls.append(step)
        else:
            additions.take(step, f"instruction {number} ({named(step)})")
    if not calls:
        raise BadTransaction(
            "it calls no program that is followed, and only calls of those are "
            "relayed: follow it under [programs.<name>], or call another one"
        )
    _check_accounts(signed, calls, additions)
    fee = additions.budget.fee(len(signed.signers)) + additions.lamports
    return Relayable(signed, calls[0], fee)


def _check_accounts(
    signed: WalletTransaction, calls: Sequence[Step], additions: Additions
) -> None:
    """Raise BadTransaction for an account that only what was added signs or writes."""
    used = {key for each in signed.steps for key in (each.program, *each.accounts)}
    ours = {signed.signers[0], *(key for each in calls for key in each.accounts)}
    for key, (signs, written) in signed.flags.items():
        if key not in used | ours:
            raise BadTransaction(
                f"no instruction uses the account {to_base58(key)}: sign it without"
            )
        if key in ours or not (signs or (written and key not in additions.paid)):
            continue
        does = "signs for" if signs else "may change"
        raise BadTransaction(
            f"the transaction {does} the account {to_base58(key)}, which no call of a "
            "followed program has: have the wallet add only what reads"
        )


def _refuse_ours(connection: Connection, signers: Sequence[bytes]) -> None:
    """Raise BadTransaction for what one of our own signers signed: it is sent by us."""
    for address, name in ours_among(connection, signers).items():
        raise BadTransaction(
            f"{to_base58(address)} is our own signer {name}: what it signs is sent by "
            "its commands alone. Sign it with a wallet of yours"
        )


def _first_slot(connection: Connection, source: int) -> int:
    """Return a slot up to which it cannot have landed, if a node does not know it.

    It is read before a node is asked, and no node is that is behind what is indexed.
    """
    row = sources.by_id(connection, source)
    return max(row.final, (row.head or 0) - _NOTHING_KNOWN, 0)


def _check_alive(lane: "SolanaLane", signed: WalletTransaction) -> None:
    """Raise BadTransaction for what has landed, and for what can land no more."""
    if lane.node.knows(signed.signature):
        raise BadTransaction(
            f"{to_base58(signed.signature)} is in a block already: nothing is left to "
            "be relayed. To do the same once more, sign it with a newer blockhash"
        )
    if lane.node.too_old(signed.blockhash):
        raise BadTransaction(
            f"its blockhash {to_base58(signed.blockhash)} is too old, or of another "
            f"cluster than {lane.name}: sign it with a blockhash of that one "
            "(getLatestBlockhash, confirmed), and relay it within a minute"
        )


def _simulated(lane: "SolanaLane", found: Relayable) -> int:
    """Return the compute units that it uses; raises Refused where it would fail."""
    writable = [key for key, (_, written) in found.signed.flags.items() if written]
    simulated = lane.node.simulate(found.signed.raw, found.payer, writable)
    if simulated.error is None:
        return simulated.units
    failure = explain_failure(
        None, found.call.program, simulated.error, simulated.logs, lane.followed
    )
    raise Refused(
        f"it would fail: {failure.reason.rstrip('.')}. Nothing was sent: correct it, "
        "and sign it anew"
    )


def _instruction(found: Relayable) -> bytes:
    """Return the call as commands have theirs."""
    metas = [
        AccountMeta(Pubkey.from_bytes(key), *found.signed.flags[key])
        for key in found.call.accounts
    ]
    program = Pubkey.from_bytes(found.call.program)
    return bytes(Instruction(program, found.call.data, metas))
