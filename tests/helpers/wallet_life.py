"""Wallets whose token accounts come and go, and what all that adds up to, by hand.

`reference` reads whole blocks and shares no code with the product.
"""

from __future__ import annotations

import base64
import struct

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from devnet.solana.client import ASSOCIATED, TOKEN
from helpers.token_bank import TOKEN_2022, Bank, Mint, call

READ = {"commitment": "confirmed", "transactionDetails": "full", "rewards": False,
        "encoding": "json", "maxSupportedTransactionVersion": 1}  # fmt: skip


class Life(Bank):
    """A bank with two wallets that are watched; the others are strangers."""

    def __post_init__(self):
        super().__post_init__()
        self.wallets = [self.person(), self.person()]
        self.all_mints = [
            self.mint(TOKEN), self.mint(TOKEN_2022),
            self.mint(TOKEN_2022, fee_bps=self.chance.randint(1, 999)),
        ]  # fmt: skip
        for mint in self.all_mints:
            self.account(mint)

    @property
    def keys(self) -> list[Pubkey]:
        return [each.pubkey() for each in self.wallets]

    def associated(self, mint: Mint, wallet: Keypair) -> Pubkey:
        """Open the wallet's associated account, which names the wallet."""
        seeds = [bytes(wallet.pubkey()), bytes(mint.program), bytes(mint.key)]
        key, _ = Pubkey.find_program_address(seeds, ASSOCIATED)
        metas = [
            AccountMeta(self.payer.pubkey(), True, True),
            AccountMeta(key, False, True),
            AccountMeta(wallet.pubkey(), False, False),
            AccountMeta(mint.key, False, False),
            AccountMeta(SYSTEM, False, False),
            AccountMeta(mint.program, False, False),
        ]
        self.do(Instruction(ASSOCIATED, b"\1", metas))
        self.owners[key], self.mints[key] = wallet, mint
        return key

    def close(self, account: Pubkey) -> None:
        """Burn what is in an account, and close it."""
        calls, held = [], self.held(account) or 0
        mint = self.mints[account]
        if held:
            calls.append(self.burning(account, held))
        if mint.fee_bps:
            body = b"\x1a\x04"  # what was withheld goes to the mint
            calls.append(call(mint.program, body, mint.key, account))
        self.do(*calls, self.closing(account), signers=[self.owner(account)])
        del self.mints[account], self.owners[account]

    def live(self) -> None:
        """Open, close or give away an account, or move something."""
        wallet, mint = (
            self.chance.choice(self.wallets),
            self.chance.choice(self.all_mints),
        )
        choice = self.chance.randrange(9)
        own = [at for at, who in self.owners.items() if who in self.wallets]
        if choice == 0:
            self.associated(mint, wallet)
        elif choice == 1:  # its opening does not name the wallet
            self.account(mint, wallet)
        elif choice == 2 and own:
            self.close(self.chance.choice(own))
        elif choice == 3:  # given to the wallet by a stranger, who does not name it
            account = self.account(mint)
            calls, owner = [self.minting(account, 31)], self.owner(account)
            self.do(*calls, self.giving_away(account, wallet), signers=[owner])
        else:
            self.act()


def reference(devnet, wallets: list[Pubkey]) -> list[tuple[int, str, str, int, int]]:
    """Slot, account, owner, amount and balance of every movement that is to be told."""
    texts, ran = {str(each) for each in wallets}, []
    top = devnet.call("getSlot", {"commitment": "confirmed"})
    for slot in devnet.call("getBlocks", 0, top, {"commitment": "confirmed"}):
        for each in devnet.call("getBlock", slot, READ)["transactions"]:
            loaded = each["meta"].get("loadedAddresses") or {}
            keys = [
                *each["transaction"]["message"]["accountKeys"],
                *loaded.get("writable", ()), *loaded.get("readonly", ()),
            ]  # fmt: skip
            ran.append((slot, keys, each["meta"]))
    accounts = set(texts)
    for _, keys, meta in ran:
        for side in ("preTokenBalances", "postTokenBalances"):
            accounts |= {
                keys[one["accountIndex"]] for one in meta[side] if one["owner"] in texts
            }
    found = []
    for slot, keys, meta in ran:
        if meta["err"] is None and accounts.intersection(keys):
            found += [(slot, *each) for each in _moved(keys, meta)]
    return found


def _moved(keys, meta):
    sides = []
    for side in ("preTokenBalances", "postTokenBalances"):
        sides.append({
            one["accountIndex"]: (
                one["owner"], one["mint"], int(one["uiTokenAmount"]["amount"])
            )
            for one in meta[side]
        })  # fmt: skip
    for index in sorted(sides[0] | sides[1]):
        old, new = (side.get(index) for side in sides)
        if old and new and old[:2] == new[:2]:
            if old[2] != new[2]:
                yield keys[index], new[0], new[2] - old[2], new[2]
            continue
        if old and old[2]:
            yield keys[index], old[0], -old[2], 0
        if new and new[2]:
            yield keys[index], new[0], new[2], new[2]


def held_by(devnet, wallet: Pubkey) -> dict[str, int]:
    """What a wallet holds of each mint, as the node tells it."""
    found: dict[str, int] = {}
    for program in (TOKEN, TOKEN_2022):
        config = {"encoding": "base64", "commitment": "confirmed"}
        told = devnet.call("getTokenAccountsByOwner", str(wallet),
                           {"programId": str(program)}, config)  # fmt: skip
        for each in told["value"]:
            data = base64.b64decode(each["account"]["data"][0])
            mint, (amount,) = str(Pubkey(data[:32])), struct.unpack_from("<Q", data, 64)
            if amount:
                found[mint] = found.get(mint, 0) + amount
    return found
