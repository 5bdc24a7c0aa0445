"""The interface by which a chain kind prepares commands for one of its chains."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection

from commands.errors import CommandError
from db.commands.accept import CommandRow, Request
from db.coverage import Stream
from db.declare.calls import CallSpec
from db.declare.commands import CommandSpec

if TYPE_CHECKING:
    from commands.submit import CommandService, Submission


# Of a transaction on any chain; the largest limit is that of go-ethereum (txMaxSize).
SIGNED_BYTES_MAX = 128 * 1024


class NoContract(CommandError):
    """The contract that a command calls has no address in the settings."""


class NoSigner(CommandError):
    """The signer of a command has never been at work on this database."""


class ChainRequired(CommandError):
    """A command could go to several chains, and none is named."""

    def __init__(self, kind: str, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)
        super().__init__(
            f"{kind} can go to several chains: name one (?chain=, --chain): "
            f"{', '.join(choices)}"
        )


class OtherChain(CommandError):
    """A command cannot go to the chain that was named."""

    def __init__(self, kind: str, chain: str, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)
        known = ", ".join(choices) or "no chain"
        super().__init__(f"{kind} does not go to chain {chain!r}, but to {known}")


class NoLane(CommandError):
    """A command's chain is not in the settings any more."""

    def __init__(self, source: int) -> None:
        super().__init__(
            f"the chain of number {source} in the database is not in the settings: "
            "write it there again, as [chains.<name>]"
        )


class Lane(Protocol):
    """One chain, as commands are prepared for it.

    Commands that only the journal records never come here.
    """

    @property
    def source(self) -> int:
        """The number of the chain in this database."""
        ...

    @property
    def name(self) -> str:
        """The chain's name in the settings."""
        ...

    @property
    def signers(self) -> frozenset[str]:
        """The names of our signers that sign for this chain."""
        ...

    @property
    def addresses(self) -> Mapping[str, bytes]:
        """The addresses of contracts by name."""
        ...

    @property
    def plan(self) -> Sequence[Stream] | None:
        """The chain's planned streams; None: those with coverage."""
        ...

    @property
    def unit(self) -> str:
        """The smallest unit of the chain's coin: wei, lamports."""
        ...

    @property
    def decimals(self) -> int:
        """The digits of a whole coin in smallest units."""
        ...

    @property
    def wallet_kind(self) -> str:
        """The kind of wallets that sign for the chain, as accounts have them."""
        ...

    def takes(self, call: CallSpec) -> bool:
        """Whether a call is one for chains of this kind."""
        ...

    def prepare(
        self,
        spec: CommandSpec,
        arguments: Mapping[str, Any],
        request: Request,
        command_id: uuid.UUID,
    ) -> Request:
        """Return the request with the call in the chain's own form.

        Raises BadArguments, and NoContract.
        """
        ...

    def sender(self, connection: Connection, request: Request) -> bytes:
        """Return the account that the transaction will come from; raises NoSigner."""
        ...

    def simulate(self, spec: CommandSpec, request: Request, sender: bytes) -> Request:
        """Return the request with what its execution needs, such as a gas limit.

        Raises Refused, with the contract's own reason, where the chain would revert it,
        and NodeAway.
        """
        ...

    def head(self) -> int:
        """Return the height of the nodes' highest block; raises NodeAway."""
        ...

    def balance(self, address: bytes) -> int:
        """Return an account's balance in the chain's smallest unit; raises NodeAway."""
        ...

    def unsigned(self, service: "CommandService", row: CommandRow) -> dict[str, Any]:
        """Return the transaction that the wallet of a command is to sign, as JSON.

        Raises NodeAway.
        """
        ...

    def relay_signed(
        self, service: "CommandService", row: CommandRow, raw: bytes
    ) -> CommandRow:
        """Keep and send what a wallet signed for a command.

        Raises BadTransaction unless it is what was asked for, and AlreadyEnded.
        """
        ...

    def is_for(self, raw: bytes) -> bool:
        """Whether a signed transaction is for this chain.

        Raises BadTransaction for what is none of chains of this kind.
        """
        ...

    def relay_any(
        self, service: "CommandService", raw: bytes, asked: "Submission"
    ) -> tuple[CommandRow, bool]:
        """Keep and send a signed call of a contract that is followed.

        Returns its command, and whether it is new. Raises BadTransaction, Refused,
        KeyReused, TooManyWaiting and NodeAway.
        """
        ...

    def work_wallets(self, service: "CommandService") -> Iterator[str]:
        """Settle the commands of wallets and send them again; yields between steps."""
        ...
