"""Transactions, metadata and accounts as the RPC writes them.

Source: agave's transaction-status and account-decoder. `jsonParsed` gives the keys with
their source, and every instruction in the form of a program that the node cannot parse.
"""

from __future__ import annotations

import base64
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from . import tokens
from .base58 import b58encode
from .chain import Record
from .errors import RpcError, invalid, unsupported_version
from .machine import Done, Inner, Told

BASE58_BYTES_MAX = 128
ENCODINGS = ("json", "jsonParsed", "base64", "base58")


def version_of(transaction: VersionedTransaction) -> int | str:
    """Return 0, 1 or `legacy`."""
    version = transaction.version()
    return version if isinstance(version, int) else "legacy"


def check_version(record: Record, newest: int | None) -> int | str | None:
    """Return the version to tell; refuse one that the client did not ask for."""
    version = version_of(record.transaction)
    if newest is None:
        if version != "legacy":
            raise unsupported_version(int(version))
        return None
    if version != "legacy" and int(version) > newest:
        raise unsupported_version(int(version))
    return version


def encode_record(
    record: Record, encoding: str, newest: int | None, details: str = "full",
    *, rewards: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Return a transaction with its metadata, and its version if that was asked for."""
    version = check_version(record, newest)
    if details == "accounts":
        body: dict[str, Any] = {
            "transaction": {
                "accountKeys": _keys(record),
                "signatures": [str(one) for one in record.transaction.signatures],
            },
            "meta": {
                name: value
                for name, value in meta(record, parsed=True).items()
                if name in ("err", "status", "fee") or name.endswith("Balances")
            },
        }
    else:
        body = {
            "transaction": _transaction(record, encoding),
            "meta": meta(record, parsed=encoding == "jsonParsed"),
        }
        if not rewards:
            body["meta"] = {**body["meta"], "rewards": None}
    return body if version is None else {**body, "version": version}


def meta(record: Record, *, parsed: bool = False) -> dict[str, Any]:
    """Return what a transaction did."""
    name = "meta-parsed" if parsed else "meta"
    if name not in record.cache:
        record.cache[name] = written_meta(record.done, parsed=parsed)
    kept: dict[str, Any] = record.cache[name]
    return kept


def written_meta(done: Done, *, parsed: bool) -> dict[str, Any]:
    """Return the metadata of an execution, as it is written."""
    told = done.told
    body: dict[str, Any] = {
        "err": told.error,
        "status": status(told.error),
        "fee": told.fee,
        "preBalances": done.lamports[0],
        "postBalances": done.lamports[1],
        "innerInstructions": inner_instructions(told, done.keys, parsed=parsed),
        "logMessages": told.logs,
        "preTokenBalances": [_token_balance(one) for one in done.tokens[0]],
        "postTokenBalances": [_token_balance(one) for one in done.tokens[1]],
        "rewards": [],
        "computeUnitsConsumed": told.units,
    }
    if not parsed:
        body["loadedAddresses"] = {
            "writable": [str(key) for key in done.loaded[0]],
            "readonly": [str(key) for key in done.loaded[1]],
        }
    if told.returned is not None:
        body["returnData"] = return_data(told)
    return body


def status(error: Any) -> dict[str, Any]:
    """Return an error in the older form of a result."""
    return {"Ok": None} if error is None else {"Err": error}


def return_data(told: Told) -> dict[str, Any] | None:
    """Return what the last program returned."""
    if told.returned is None:
        return None
    program, data = told.returned
    return {"programId": str(program), "data": [_base64(data), "base64"]}


def inner_instructions(
    told: Told, keys: list[Pubkey], *, parsed: bool
) -> list[dict[str, Any]]:
    """Return the calls that each instruction made, with how deep they were."""
    return [
        {
            "index": index,
            "instructions": [
                _partly(
                    one.program_index, one.accounts, one.data, keys, one.stack_height
                )
                if parsed
                else _compiled(one)
                for one in group
            ],
        }
        for index, group in enumerate(told.inner)
        if group
    ]


def _compiled(one: Inner) -> dict[str, Any]:
    return {
        "programIdIndex": one.program_index,
        "accounts": list(one.accounts),
        "data": b58encode(one.data),
        "stackHeight": one.stack_height,
    }


def _partly(
    program: int, accounts: bytes, data: bytes, keys: list[Pubkey], height: int
) -> dict[str, Any]:
    return {
        "programId": str(keys[program]),
        "accounts": [str(keys[index]) for index in accounts],
        "data": b58encode(data),
        "stackHeight": height,
    }


def _token_balance(held: tokens.Held) -> dict[str, Any]:
    return {
        "accountIndex": held.index,
        "mint": str(held.mint),
        "owner": str(held.owner),
        "programId": str(held.program),
        "uiTokenAmount": tokens.amount(held.amount, held.decimals, zero_is_null=True),
    }


def _keys(record: Record) -> list[dict[str, Any]]:
    """Return all keys with what the transaction may do to them."""
    message: Any = record.transaction.message
    header, own = message.header, len(message.account_keys)
    signers = header.num_required_signatures
    writable_signers = signers - header.num_readonly_signed_accounts
    writable_own = own - header.num_readonly_unsigned_accounts
    writable_loaded = own + len(record.done.loaded[0])
    return [
        {
            "pubkey": str(key),
            "signer": index < signers,
            "source": "transaction" if index < own else "lookupTable",
            "writable": index < writable_signers
            or signers <= index < writable_own
            or own <= index < writable_loaded,
        }
        for index, key in enumerate(record.done.keys)
    ]


def _transaction(record: Record, encoding: str) -> Any:
    if encoding not in record.cache:
        record.cache[encoding] = _encode_transaction(record, encoding)
    return record.cache[encoding]


def _encode_transaction(record: Record, encoding: str) -> Any:
    sent = record.transaction
    if encoding == "base64":
        return [_base64(bytes(sent)), "base64"]
    if encoding == "base58":
        return [b58encode(bytes(sent)), "base58"]
    message: Any = sent.message
    if encoding == "jsonParsed":
        body: dict[str, Any] = {
            "accountKeys": _keys(record),
            "instructions": [
                _partly(
                    one.program_id_index, bytes(one.accounts), bytes(one.data),
                    record.done.keys, 1,
                )
                for one in message.instructions
            ],
        }  # fmt: skip
    else:
        header = message.header
        body = {
            "header": {
                "numRequiredSignatures": header.num_required_signatures,
                "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
                "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
            },
            "accountKeys": [str(key) for key in message.account_keys],
            "instructions": [
                _compiled(
                    Inner(one.program_id_index, bytes(one.accounts), bytes(one.data), 1)
                )
                for one in message.instructions
            ],
        }
    body["recentBlockhash"] = str(message.recent_blockhash)
    body.update(_of_version(message, version_of(sent)))
    return {"signatures": [str(one) for one in sent.signatures], "message": body}


def _of_version(message: Any, version: int | str) -> dict[str, Any]:
    """Return what only messages of one version have."""
    if version == 0:
        lookups = [
            {
                "accountKey": str(one.account_key),
                "writableIndexes": list(one.writable_indexes),
                "readonlyIndexes": list(one.readonly_indexes),
            }
            for one in message.address_table_lookups
        ]
        return {"addressTableLookups": lookups}
    if version != 1:
        return {}
    config = message.config
    told = {
        "priorityFee": config.priority_fee,
        "computeUnitLimit": config.compute_unit_limit,
        "loadedAccountsDataSizeLimit": config.loaded_accounts_data_size_limit,
        "heapSize": config.heap_size,
    }
    return {"transactionConfig": told}


def encode_account(
    account: Account, encoding: str, piece: dict[str, int] | None = None
) -> dict[str, Any]:
    """Return an account; ``piece`` is a `dataSlice` with offset and length."""
    data = bytes(account.data)
    size = len(data)
    if piece is not None:
        data = data[piece["offset"] : piece["offset"] + piece["length"]]
    if encoding in ("base58", "binary"):
        if len(data) > BASE58_BYTES_MAX:
            raise RpcError(
                -32600,
                "Encoded binary (base 58) data should be less than "
                f"{BASE58_BYTES_MAX} bytes, please use Base64 encoding.",
            )
        text: Any = b58encode(data)
        text = [text, "base58"] if encoding == "base58" else text
    elif encoding in ("base64", "jsonParsed"):
        text = [_base64(data), "base64"]
    else:
        raise invalid(
            f"Invalid params: unknown variant `{encoding}`, expected one of `binary`, "
            "`base58`, `base64`, `jsonParsed`, `base64+zstd`."
        )
    return {
        "lamports": account.lamports,
        "data": text,
        "owner": str(account.owner),
        "executable": account.executable,
        "rentEpoch": account.rent_epoch,
        "space": size,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
