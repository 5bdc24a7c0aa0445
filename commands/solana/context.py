"""A signer at work on Solana: its key, its nodes, its policy and its programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Engine

from commands.solana.choosing import Several
from commands.solana.node import Node
from commands.solana.signers import Signer
from db.declare.solana.call import SolanaCallSpec

Clock = Callable[[], datetime]
SLOT_SECONDS = 0.4
VALID_BLOCKS = 150  # after its own, in which a blockhash is valid


@dataclass(frozen=True, slots=True)
class Policy:
    """When a signer sends again, what it pays, and how much it has under way.

    `price_max` is in micro-lamports for a compute unit. The compute limit is what a
    simulation used and `margin_percent` more. `look_after` is how long after signing it
    is first asked whether a blockhash is past.
    """

    rebroadcast_after: timedelta = timedelta(seconds=2)
    claim_for: timedelta = timedelta(seconds=15)
    held_again_after: timedelta = timedelta(seconds=60)
    look_after: timedelta = timedelta(seconds=SLOT_SECONDS * VALID_BLOCKS / 2)
    price_max: int = 1_000_000
    margin_percent: int = 15
    max_in_flight: int = 64


@dataclass(frozen=True, slots=True)
class SignerContext:
    """Everything that work on one signer needs.

    `calls` are by the command's kind, `several` the accounts that serve for a name.
    """

    engine: Engine
    signer: Signer
    node: Node
    policy: Policy
    clock: Clock
    calls: Mapping[str, SolanaCallSpec]
    several: Several = field(default_factory=dict)
