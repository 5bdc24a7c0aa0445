"""Reads `[wallets]`: commands that clients sign with their own wallets."""

from __future__ import annotations

from types import MappingProxyType

from ops.settings import values
from ops.settings.table import Table
from ops.settings.wallet_model import SolanaWalletSettings, WalletSettings

# What these are given in a wallet's name moves its money: none of them only guards.
_MOVERS = {
    "11111111111111111111111111111111": "the system program",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "the token program",
    "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb": "the Token-2022 program",
    "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL": "the associated token program",
    "BPFLoaderUpgradeab1e11111111111111111111111": "the loader",
    "Stake11111111111111111111111111111111111111": "the stake program",
}


def read_wallets(table: Table) -> WalletSettings:
    """Read `[wallets]`."""
    default = WalletSettings()

    def number(key: str, minimum: int = 1) -> int:
        return table.number(key, int(getattr(default, key)), int, minimum)

    found = WalletSettings(
        valid_hours=number("valid_hours"),
        watch_days=number("watch_days", 0),
        waiting_of_account=number("waiting_of_account"),
        waiting_of_wallet=number("waiting_of_wallet"),
        solana=_read_solana(table.section("solana")),
    )
    table.finish()
    return found


def _read_solana(table: Table) -> SolanaWalletSettings:
    """Read `[wallets.solana]`: what wallets may add to what they are asked to sign."""
    default = SolanaWalletSettings()
    fees, recipients = {}, table.section("fees")
    for name in recipients.names():
        recipient = recipients.attempt(name, values.pubkey, name)
        most = recipients.number(name, 0, int)
        if recipient is not None:
            fees[recipient] = most
    found = SolanaWalletSettings(
        guards=table.parsed_list("guards", _guard),
        guards_most=table.number("guards_most", default.guards_most, int),
        fees=MappingProxyType(fees),
        priority_fee_max=table.number(
            "priority_fee_max", default.priority_fee_max, int
        ),
    )
    table.finish()
    return found


def _guard(text: str) -> bytes:
    if text in _MOVERS:
        raise ValueError(
            f"{_MOVERS[text]} moves what a wallet has, so it is no guard: name "
            "programs that only assert"
        )
    return values.pubkey(text)
