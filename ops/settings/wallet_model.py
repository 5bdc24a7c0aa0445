"""The values of `[wallets]`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class SolanaWalletSettings:
    """Instructions that wallets of Solana may add to what they are asked to sign.

    `guards` are programs; `fees` is the most lamports by recipient; `priority_fee_max`
    is in micro-lamports for a compute unit.
    """

    guards: tuple[bytes, ...] = ()
    guards_most: int = 4
    fees: Mapping[bytes, int] = field(default_factory=lambda: MappingProxyType({}))
    priority_fee_max: int = 1_000_000


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """Commands that clients sign with their own wallets: how long, and how many."""

    valid_hours: int = 24
    watch_days: int = 7
    waiting_of_account: int = 100
    waiting_of_wallet: int = 20
    solana: SolanaWalletSettings = SolanaWalletSettings()


WALLETS = WalletSettings()
