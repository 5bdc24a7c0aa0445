"""Methods that read state: accounts, tokens, and where the cluster stands."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from . import tokens
from .base58 import b58decode
from .call import API_VERSION, Call, blockhash, pubkey, unsigned
from .chain import BLOCKHASH_BLOCKS
from .encoding import encode_account
from .errors import invalid
from .machine import EPOCH_SLOTS

ACCOUNTS_MAX = 100
FILTERS_MAX = 4
FEE_KEYS_MAX = 128
OWNER_OFFSET = 32


def get_version(call: Call) -> Any:
    """Return the release whose answers these are; the node says that it is none."""
    return {"feature-set": 0, "solana-core": API_VERSION, "chainfold-devnet": True}


def get_epoch_info(call: Call) -> Any:
    """Return where in its epoch the chain is."""
    slot = call.slot(call.config(0))
    return {
        "absoluteSlot": slot,
        "blockHeight": call.chain.blocks[slot].height,
        "epoch": slot // EPOCH_SLOTS,
        "slotIndex": slot % EPOCH_SLOTS,
        "slotsInEpoch": EPOCH_SLOTS,
        "transactionCount": call.chain.transactions,
    }


def get_latest_blockhash(call: Call) -> Any:
    """Return the newest blockhash at a commitment, and how long it can be used."""
    slot = call.slot(call.config(0))
    return call.context(slot, latest_blockhash(call, slot))


def latest_blockhash(call: Call, slot: int) -> dict[str, Any]:
    """Return the blockhash that a bank gives out: of its last sealed block."""
    block = call.chain.blocks[slot]
    if slot == call.chain.tip.slot:
        block = call.chain.blocks[block.parent]
    return {
        "blockhash": str(block.blockhash),
        "lastValidBlockHeight": block.height + BLOCKHASH_BLOCKS,
    }


def is_blockhash_valid(call: Call) -> Any:
    """Say whether a transaction with a blockhash can still land."""
    slot = call.slot(call.config(1))
    valid = call.chain.blockhash_is_valid(blockhash(call.text(0)), slot)
    return call.context(slot, valid)


def get_account_info(call: Call) -> Any:
    """Return an account, or null."""
    config = call.config(1)
    slot = call.slot(config)
    return call.context(slot, _account(call, pubkey(call.text(0)), slot, config))


def get_multiple_accounts(call: Call) -> Any:
    """Return many accounts at one slot."""
    config = call.config(1)
    slot = call.slot(config)
    keys = [pubkey(text) for text in call.texts(0, ACCOUNTS_MAX)]
    config = {"encoding": "base64", **config}
    return call.context(slot, [_account(call, key, slot, config) for key in keys])


def get_balance(call: Call) -> Any:
    """Return the lamports of an account."""
    slot = call.slot(call.config(1))
    account = call.chain.account_at(pubkey(call.text(0)), slot)
    return call.context(slot, account.lamports if account else 0)


def get_program_accounts(call: Call) -> Any:
    """Return the accounts of a program that pass all filters."""
    program, config = pubkey(call.text(0)), call.config(1)
    filters = [_filter(one) for one in config.get("filters") or ()]
    if len(filters) > FILTERS_MAX:
        raise invalid(f"Too many filters provided; max {FILTERS_MAX}")
    slot = call.slot(config)
    rows = [
        _keyed(key, account, config)
        for key, account in sorted(
            call.chain.owned_at(program, slot).items(), key=lambda row: bytes(row[0])
        )
        if all(passes(account) for passes in filters)
    ]
    return call.context(slot, rows) if config.get("withContext") else rows


def get_token_account_balance(call: Call) -> Any:
    """Return the tokens in a token account."""
    slot = call.slot(call.config(1))
    account = call.chain.account_at(pubkey(call.text(0)), slot)
    if account is None:
        raise invalid("Invalid param: could not find account")
    found = tokens.token_account(account)
    if found is None:
        raise invalid("Invalid param: not a Token account")
    of_mint = tokens.mint(call.chain.account_at(found[0], slot))
    if of_mint is None:
        raise invalid("Invalid param: could not find mint")
    return call.context(slot, tokens.amount(found[2], of_mint[1]))


def get_token_supply(call: Call) -> Any:
    """Return how many tokens of a mint there are."""
    slot = call.slot(call.config(1))
    account = call.chain.account_at(pubkey(call.text(0)), slot)
    if account is None:
        raise invalid("Invalid param: could not find account")
    found = tokens.mint(account)
    if found is None:
        raise invalid("Invalid param: not a Token mint")
    return call.context(slot, tokens.amount(*found))


def get_token_accounts_by_owner(call: Call) -> Any:
    """Return the token accounts of an owner, of one mint or of one token program."""
    owner, chosen, config = pubkey(call.text(0)), call.config(1), call.config(2)
    slot = call.slot(config)
    of_mint = pubkey(chosen["mint"]) if "mint" in chosen else None
    if of_mint is not None:
        account = call.chain.account_at(of_mint, slot)
        if account is None:
            raise invalid("Invalid param: could not find mint")
        if tokens.mint(account) is None:
            raise invalid("Invalid param: not a Token mint")
        program = account.owner
    elif "programId" in chosen:
        program = pubkey(chosen["programId"])
    else:
        raise invalid("Invalid params: expected `mint` or `programId`.")
    if program not in tokens.PROGRAMS:
        raise invalid("Invalid param: unrecognized Token program id")
    rows = []
    for key, account in call.chain.owned_at(program, slot).items():
        found = tokens.token_account(account)
        if found and found[1] == owner and of_mint in (None, found[0]):
            rows.append(_keyed(key, account, config))
    return call.context(slot, sorted(rows, key=lambda row: str(row["pubkey"])))


def get_minimum_balance(call: Call) -> Any:
    """Return the lamports that free an account of a size from rent."""
    return call.chain.machine.vm.minimum_balance_for_rent_exemption(call.number(0))


def get_recent_prioritization_fees(call: Call) -> Any:
    """Return the least fee of recent slots: zero, nobody competes here."""
    if call.params:
        for text in call.texts(0, FEE_KEYS_MAX):
            pubkey(text)
    top = call.ladder.processed
    chosen = call.chain.between(max(1, top - BLOCKHASH_BLOCKS), top - 1)
    return [{"slot": slot, "prioritizationFee": 0} for slot in chosen]


def _account(
    call: Call, key: Pubkey, slot: int, config: dict[str, Any]
) -> dict[str, Any] | None:
    account = call.chain.account_at(key, slot)
    if account is None or not account.lamports:
        return None
    return encode_account(account, _encoding(config), _piece(config))


def _keyed(key: Pubkey, account: Account, config: dict[str, Any]) -> dict[str, Any]:
    told = encode_account(account, _encoding(config), _piece(config))
    return {"pubkey": str(key), "account": told}


def _encoding(config: dict[str, Any]) -> str:
    return str(config.get("encoding") or "binary")


def _piece(config: dict[str, Any]) -> dict[str, int] | None:
    piece = config.get("dataSlice")
    if piece is None:
        return None
    return {name: unsigned(piece.get(name)) for name in ("offset", "length")}


def _filter(one: Any) -> Callable[[Account], bool]:
    if isinstance(one, dict) and "dataSize" in one:
        size = unsigned(one["dataSize"])
        return lambda account: len(account.data) == size
    if not isinstance(one, dict) or not isinstance(one.get("memcmp"), dict):
        raise invalid("Invalid params: expected a filter `memcmp` or `dataSize`.")
    compared = one["memcmp"]
    offset, text = unsigned(compared.get("offset")), str(compared.get("bytes"))
    try:
        wanted = (
            base64.b64decode(text, validate=True)
            if compared.get("encoding") == "base64"
            else b58decode(text)
        )
    except ValueError as error:
        raise invalid(f"Invalid param: {error}") from None
    if len(wanted) > 128:
        raise invalid("Invalid param: DataTooLarge")
    return lambda account: bytes(account.data)[offset:][: len(wanted)] == wanted


METHODS: dict[str, Callable[[Call], Any]] = {
    "getVersion": get_version,
    "getHealth": lambda call: "ok",
    "getGenesisHash": lambda call: str(call.chain.genesis),
    "getSlot": lambda call: call.slot(call.config(0)),
    "getBlockHeight": lambda call: call.chain.blocks[call.slot(call.config(0))].height,
    "getFirstAvailableBlock": lambda call: 0,
    "getTransactionCount": lambda call: call.chain.transactions,
    "getEpochInfo": get_epoch_info,
    "getLatestBlockhash": get_latest_blockhash,
    "isBlockhashValid": is_blockhash_valid,
    "getAccountInfo": get_account_info,
    "getMultipleAccounts": get_multiple_accounts,
    "getBalance": get_balance,
    "getProgramAccounts": get_program_accounts,
    "getTokenAccountBalance": get_token_account_balance,
    "getTokenSupply": get_token_supply,
    "getTokenAccountsByOwner": get_token_accounts_by_owner,
    "getMinimumBalanceForRentExemption": get_minimum_balance,
    "getRecentPrioritizationFees": get_recent_prioritization_fees,
}
