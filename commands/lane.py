"""What a chain kind does for a command between its request and its row."""

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection

from commands.errors import CommandError
from db.commands.accept import CommandRow, Request
from db.declare.commands import CommandSpec

if TYPE_CHECKING:
    from commands.submit import Intake, Submission


class NoContract(CommandError):
    """The contract that a command calls has no address in the settings."""


class NoSigner(CommandError):
    """The signer of a command has never been at work on this database."""


class Lane(Protocol):
    """One chain, as commands are prepared for it.

    Commands that only the journal records never come here.
    """

    @property
    def source(self) -> int:
        """The number of the chain in this database."""
        ...

    @property
    def addresses(self) -> Mapping[str, bytes]:
        """The addresses of contracts by name."""
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
        """Return what an account has, in the chain's smallest unit; raises NodeAway."""
        ...

    def unsigned(self, intake: "Intake", row: CommandRow) -> dict[str, Any]:
        """Return the transaction that the wallet of a command is to sign, as JSON.

        Raises NodeAway.
        """
        ...

    def relay_signed(self, intake: "Intake", row: CommandRow, raw: bytes) -> CommandRow:
        """Keep and send what a wallet signed for a command.

        Raises BadTransaction unless it is what was asked for, and AlreadyEnded.
        """
        ...

    def relay_any(
        self, intake: "Intake", raw: bytes, asked: "Submission"
    ) -> tuple[CommandRow, bool]:
        """Keep and send a signed call of a contract that is followed.

        Returns its command, and whether it is new. Raises BadTransaction, KeyReused,
        TooManyWaiting and NodeAway.
        """
        ...

    def work_wallets(self, intake: "Intake") -> Iterator[str]:
        """Settle the commands of wallets and send them again; yields between steps."""
        ...
