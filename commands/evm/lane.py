"""Commands that become calls of contracts: encoded, addressed and simulated."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from commands.errors import Refused
from commands.evm import wallets
from commands.evm.encode import calldata, explain_revert
from commands.evm.fees import with_margin
from commands.evm.node import Node, NoMoney, Reverted
from commands.evm.raw import read_raw
from commands.lane import NoContract, NoSigner
from commands.submit import CommandService, Submission
from db.accounts.accounts import EVM
from db.commands.accept import CommandRow, Request
from db.commands.signers import find_signer
from db.coverage import Stream
from db.declare.calls import CallSpec
from db.declare.commands import CommandSpec
from db.declare.evm.call import EvmCallSpec


@dataclass(frozen=True, slots=True)
class EvmLane:
    """One EVM chain, as commands are prepared for it.

    `addresses` are those of contracts by name; calls of those in `untagged` carry no
    command's id.
    """

    name: str
    source: int
    chain_id: int
    node: Node
    addresses: Mapping[str, bytes]
    signers: frozenset[str] = frozenset()
    untagged: frozenset[str] = frozenset()
    plan: Sequence[Stream] | None = None
    unit: str = "wei"
    decimals: int = 18
    wallet_kind: str = EVM
    # A signer's name stands for one address for ever.
    _senders: dict[str, bytes] = field(default_factory=dict)

    def takes(self, call: CallSpec) -> bool:
        """Whether a call is one for chains of this kind."""
        return isinstance(call, EvmCallSpec)

    def prepare(
        self,
        spec: CommandSpec,
        arguments: Mapping[str, Any],
        request: Request,
        command_id: uuid.UUID,
    ) -> Request:
        """Return the request with its target, calldata and value in wei."""
        call = spec.call
        assert isinstance(call, EvmCallSpec)  # only those come to this lane
        tag = None if call.contract in self.untagged else command_id
        return replace(
            request,
            target=self._target(call, arguments),
            data=calldata(call, arguments, tag),
            value=int(arguments[call.value]) if call.value else 0,
        )

    def sender(self, connection: Connection, request: Request) -> bytes:
        """Return the address of the request's wallet or signer; raises NoSigner."""
        if request.signer is None:
            return request.sender or b""
        if request.signer in self._senders:
            return self._senders[request.signer]
        signer = find_signer(connection, request.signer)
        if signer is None or signer.source != request.source:
            raise NoSigner(
                f"signer {request.signer!r} has never been at work: write "
                f"[signers.{request.signer}] and start `chainfold work`"
            )
        self._senders[request.signer] = signer.address
        return signer.address

    def simulate(self, spec: CommandSpec, request: Request, sender: bytes) -> Request:
        """Return the request with a gas limit: what a node estimates, and a margin."""
        assert spec.call is not None
        contract = spec.call.contract
        try:
            gas = self.node.simulate(
                sender, request.target, request.value, request.data
            )
        except Reverted as error:
            reason = explain_revert(contract, error.data, str(error))
            raise Refused(
                f"{contract} would refuse it: {reason}. Nothing was sent."
            ) from error
        except NoMoney as error:
            if request.sender is None:
                raise
            raise Refused(
                f"your wallet 0x{sender.hex()} cannot send it: {error}. Nothing was "
                "sent."
            ) from error
        return replace(request, gas_limit=with_margin(gas))

    def head(self) -> int:
        """Return the height of the nodes' highest block; raises NodeAway."""
        return self.node.head()

    def balance(self, address: bytes) -> int:
        """Return an account's balance in wei; raises NodeAway."""
        return self.node.balance(address)

    def unsigned(self, service: CommandService, row: CommandRow) -> dict[str, Any]:
        """Return the transaction that a wallet is to sign; raises NodeAway."""
        return wallets.unsigned(service, self, row).as_json()

    def relay_signed(
        self, service: CommandService, row: CommandRow, raw: bytes
    ) -> CommandRow:
        """Keep and send what a wallet signed for a command."""
        return wallets.relay_signed(service, self, row, raw)

    def is_for(self, raw: bytes) -> bool:
        """Whether a signed transaction is for this chain; raises BadTransaction."""
        return read_raw(raw).chain_id == self.chain_id

    def relay_any(
        self, service: CommandService, raw: bytes, asked: Submission
    ) -> tuple[CommandRow, bool]:
        """Keep and send any signed call of a contract that is followed."""
        return wallets.relay_any(service, self, raw, asked)

    def work_wallets(self, service: CommandService) -> Iterator[str]:
        """Settle the commands of wallets, and send them again."""
        return wallets.work_wallets(service, self)

    def _target(self, call: EvmCallSpec, arguments: Mapping[str, Any]) -> bytes:
        if call.at is not None:
            return bytes(arguments[call.at])
        if call.contract not in self.addresses:
            raise NoContract(
                f"{call.contract} has no address: write it under "
                "[chains.<name>.contracts]"
            )
        return self.addresses[call.contract]
