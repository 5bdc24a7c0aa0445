"""A signer at work: its key, its nodes, its policy, and reasons to put it on hold."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from commands.evm.fees import Ceiling, Fees
from commands.evm.node import Node
from commands.evm.signers import Payload, Signer
from db.commands.accept import CommandRow

TRANSFER_GAS = 21_000
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """The policy of a signer: when it sends again, and what it pays; prices in wei.

    A call that nodes refuse `refusals_most` times in a row is told as what is in the
    way.
    """

    chain_id: int
    rebroadcast_after: timedelta = timedelta(seconds=10)
    bump_after: timedelta = timedelta(seconds=30)
    held_again_after: timedelta = timedelta(seconds=60)
    bump_percent: int = 12
    bump_most_times: float = 2.0
    gas_price_max: int = 10**12
    gas_price_min: int = 10**9
    dynamic_fees: bool = False
    refusals_most: int = 3

    @property
    def ceiling(self) -> Ceiling:
        """The bounds of what is offered for gas."""
        return Ceiling(
            self.gas_price_min, self.gas_price_max, self.bump_percent,
            self.dynamic_fees, self.bump_most_times,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignerContext:
    """Everything that work on one signer needs."""

    engine: Engine
    signer: Signer
    node: Node
    policy: SigningPolicy
    clock: Clock


def payload(
    context: SignerContext,
    nonce: int,
    call: CommandRow | None,
    fees: Fees,
    gas: int | None = None,
) -> Payload:
    """Build what to sign for a nonce: a call, or a transfer of nothing to itself.

    `gas` is the limit of a call, when it is another than the command's.
    """
    return Payload(
        chain_id=context.policy.chain_id,
        nonce=nonce,
        gas_price=fees.gas_price,
        priority_fee=fees.priority,
        gas=TRANSFER_GAS if call is None else gas or call.gas_limit,
        to=context.signer.address if call is None else call.target,
        value=0 if call is None else call.value,
        data=b"" if call is None else call.data,
    )
