"""Commands that become instructions of programs: encoded, addressed and simulated."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from solders.instruction import Instruction
from sqlalchemy import Connection

from commands.arguments import BadArguments
from commands.errors import NodeAway, Refused
from commands.lane import NoSigner
from commands.solana import relay, wallets
from commands.solana.asked import memo_of
from commands.solana.choosing import NOTHING_HASH, simulate_choices
from commands.solana.errors import explain_failure
from commands.solana.extras import NO_EXTRAS, Extras
from commands.solana.instructions import Addresses, build_instruction
from commands.solana.node import Node
from commands.solana.transaction import (
    Budget,
    compile_message,
)
from commands.submit import CommandService, Submission
from db.accounts.accounts import SOLANA
from db.commands.accept import CommandRow, Request
from db.commands.signers import find_signer
from db.coverage import Stream
from db.declare.calls import CallSpec
from db.declare.commands import CommandSpec
from db.declare.solana.call import SolanaCallSpec
from idl.base58 import to_base58
from idl.model import Idl

_DRAFT_ID = uuid.UUID(int=0)  # as long as that of a command, which comes later
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SolanaLane:
    """One cluster, as commands are prepared for it.

    `places` are the addresses of programs and accounts in the settings, `extras` the
    instructions that wallets may add to ours. `followed` has the IDLs of the programs
    whose every transaction is read, by their addresses.
    """

    name: str
    source: int
    node: Node
    places: Addresses
    signers: frozenset[str] = frozenset()
    plan: Sequence[Stream] | None = None
    unit: str = "lamports"
    decimals: int = 9
    wallet_kind: str = SOLANA
    extras: Extras = NO_EXTRAS
    followed: Mapping[bytes, Idl] = field(default_factory=dict)
    _senders: dict[str, bytes] = field(default_factory=dict)

    @property
    def addresses(self) -> Mapping[str, bytes]:
        """The addresses of programs by name."""
        return self.places.programs

    def takes(self, call: CallSpec) -> bool:
        """Whether a call is one for chains of this kind."""
        return isinstance(call, SolanaCallSpec)

    def prepare(
        self,
        spec: CommandSpec,
        arguments: Mapping[str, Any],
        request: Request,
        command_id: uuid.UUID,
    ) -> Request:
        """Return the request with its program.

        The instruction itself names the signer, which `simulate` is given. Raises
        BadArguments and NoContract.
        """
        call = spec.call
        assert isinstance(call, SolanaCallSpec)  # only those come to this lane
        sender = request.sender or bytes(KEY_BYTES)
        if len(sender) != KEY_BYTES:
            raise BadArguments(["wallet: it must be one of Solana"])
        instruction = build_instruction(call, arguments, bytes(32), self.places)
        return replace(request, target=bytes(instruction.program_id))

    def sender(self, connection: Connection, request: Request) -> bytes:
        """Return the address of the request's wallet or signer; raises NoSigner."""
        if request.signer is None:
            return request.sender or b""
        if request.signer not in self._senders:
            signer = find_signer(connection, request.signer)
            if signer is None or signer.source != request.source:
                raise NoSigner(
                    f"signer {request.signer!r} has never been at work: write "
                    f"[signers.{request.signer}] and start `chainfold work`"
                )
            self._senders[request.signer] = signer.address
        return self._senders[request.signer]

    def simulate(self, spec: CommandSpec, request: Request, sender: bytes) -> Request:
        """Return the request with its instruction and the compute units it needs.

        Raises Refused where the program would fail, NodeAway. What follows from a fact
        or an entry is not refused for what is so today: it waits, held, and is tried
        again (`commands.solana.work`).
        """
        call = spec.call
        assert isinstance(call, SolanaCallSpec)
        instruction = build_instruction(
            call, _given(spec, request), sender, self.places
        )
        _check_signers(spec, instruction, sender)
        by_wallet = request.signer is None
        memo = [memo_of(_DRAFT_ID)] if by_wallet else []
        if request.cause and not by_wallet:
            compile_message(instruction, sender, NOTHING_HASH, Budget())  # it fits
            return replace(request, data=bytes(instruction))
        instruction, simulation = simulate_choices(
            self.node, call, instruction, sender, self.places.several, more=memo
        )
        request = replace(request, data=bytes(instruction))
        if simulation.error is None:
            return replace(request, gas_limit=simulation.units)
        failure = explain_failure(
            call, request.target, simulation.error, simulation.logs
        )
        if failure.unpaid and not by_wallet:
            return request  # the worker tells of it, and waits for lamports
        if failure.unpaid:
            raise Refused(
                f"your wallet {to_base58(sender)} cannot send it: {failure.reason}. "
                "Nothing was sent."
            )
        raise Refused(
            f"{call.contract} would refuse it: {failure.reason}. Nothing was sent."
        )

    def head(self) -> int:
        """Return the last confirmed slot; raises NodeAway."""
        return self.node.head()

    def balance(self, address: bytes) -> int:
        """Return what an account has, in lamports; raises NodeAway."""
        return self.node.balance(address)

    def token_balances(self, name: str) -> list[tuple[bytes, int | None]]:
        """Return what the token accounts of a name hold, in the smallest unit.

        None for one of which no node tells it. Raises NoContract for a name that the
        settings lack.
        """
        return [(key, self._held(key)) for key in self.places.all_of(name)]

    def _held(self, account: bytes) -> int | None:
        try:
            return self.node.token_balance(account)
        except NodeAway:
            return None

    def unsigned(self, service: CommandService, row: CommandRow) -> dict[str, Any]:
        """Return the transaction that a wallet is to sign; raises NodeAway."""
        return wallets.unsigned(service, self, row)

    def relay_signed(
        self, service: CommandService, row: CommandRow, raw: bytes
    ) -> CommandRow:
        """Keep and send what a wallet signed for a command."""
        return wallets.relay_signed(service, self, row, raw)

    def is_for(self, raw: bytes) -> bool:
        """Whether a signed transaction calls a program that is followed here.

        None says by itself which cluster it is for: its blockhash does, to a node.
        """
        return relay.calls_of(self, raw)

    def relay_any(
        self, service: CommandService, raw: bytes, asked: Submission
    ) -> tuple[CommandRow, bool]:
        """Keep and send any signed call of a program that is followed."""
        return relay.relay_any(service, self, raw, asked)

    def work_wallets(self, service: CommandService) -> Iterator[str]:
        """Settle the commands of wallets, and send them again."""
        return wallets.work_wallets(service, self)


def _given(spec: CommandSpec, request: Request) -> dict[str, Any]:
    """The arguments of a request in canonical form."""
    return {
        name: item.check(request.arguments[name]) for name, item in spec.fields.items()
    }


def _check_signers(spec: CommandSpec, instruction: Instruction, sender: bytes) -> None:
    """Raise BadArguments for an instruction that somebody else must sign too."""
    others = {bytes(m.pubkey) for m in instruction.accounts if m.is_signer} - {sender}
    if others:
        named = ", ".join(to_base58(each) for each in sorted(others))
        raise BadArguments([f"{spec.slug} would need the signature of {named} too"])
