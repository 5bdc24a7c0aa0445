"""SPL Token accounts and mints: reading them, and amounts as the RPC writes them.

Layout: the token programs' state.rs; Token-2022 appends extensions after byte 165,
which holds 1 for a mint and 2 for an account.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
PROGRAMS = (TOKEN, TOKEN_2022)
ACCOUNT_BYTES, MINT_BYTES = 165, 82


@dataclass(frozen=True, slots=True)
class Held:
    """Tokens in the account with an index in a transaction's keys."""

    index: int
    mint: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: int
    decimals: int


def token_account(account: Account | None) -> tuple[Pubkey, Pubkey, int] | None:
    """Return mint, owner and amount, or None for anything but a token account."""
    if account is None or account.owner not in PROGRAMS:
        return None
    data = bytes(account.data)
    if len(data) != ACCOUNT_BYTES and not (
        len(data) > ACCOUNT_BYTES and data[ACCOUNT_BYTES] == 2
    ):
        return None
    if not data[108]:  # not initialised
        return None
    (amount,) = struct.unpack_from("<Q", data, 64)
    return Pubkey(data[:32]), Pubkey(data[32:64]), int(amount)


def mint(account: Account | None) -> tuple[int, int] | None:
    """Return supply and decimals, or None for anything but a mint."""
    if account is None or account.owner not in PROGRAMS:
        return None
    data = bytes(account.data)
    if len(data) != MINT_BYTES and not (
        len(data) > ACCOUNT_BYTES and data[ACCOUNT_BYTES] == 1
    ):
        return None
    if not data[45]:
        return None
    (supply,) = struct.unpack_from("<Q", data, 36)
    return int(supply), data[44]


def holdings(
    keys: Sequence[Pubkey],
    accounts: Sequence[Account | None],
    read: Callable[[Pubkey], Account | None],
) -> list[Held]:
    """Return the tokens in the accounts of a transaction."""
    held = []
    for index, (account, _) in enumerate(zip(accounts, keys, strict=True)):
        found = token_account(account)
        if found is None or account is None:
            continue
        of_mint = mint(read(found[0]))
        if of_mint is not None:
            held.append(Held(index, *found[:2], account.owner, found[2], of_mint[1]))
    return held


def amount(value: int, decimals: int, *, zero_is_null: bool = False) -> dict[str, Any]:
    """Return an amount; in a transaction's metadata the float of zero is null.

    Source: agave account-decoder (``token_amount_to_ui_amount``) and storage-proto,
    which stores no float of zero.
    """
    text = str(value).rjust(decimals + 1, "0")
    if decimals:
        text = f"{text[:-decimals]}.{text[-decimals:]}".rstrip("0").rstrip(".")
    number = None if zero_is_null and not value else value / 10**decimals
    return {
        "amount": str(value),
        "decimals": decimals,
        "uiAmount": number,
        "uiAmountString": text,
    }
