"""Where our Solana node and Surfpool 1.5.0 differ, and what a real node does.

A place is matched against the label of the question and the path in its answer (see
`helpers.solana_story`). Ours is meant to be what the real node does wherever a
difference does not say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Places (patterns of fnmatch), what a real node answers there, and the source."""

    places: tuple[str, ...]
    real: str
    source: str


DIFFERENCES = [
    Difference(
        ("/*/result/blockTime",),
        "whole seconds since 1970; Surfpool divides them by 1000 once too often",
        "agave rpc/src/rpc.rs get_block, get_transaction: bank.clock().unix_timestamp",
    ),
    Difference(
        ("*/transactionIndex",),
        "the place in the block, from agave 4.0 on; none before",
        "agave PR 9683",
    ),
    Difference(
        ("*/returnData",),
        "absent from metadata, null in simulations, when no program returned anything",
        "agave runtime bank.rs simulate_transaction; transaction-status "
        "UiTransactionStatusMeta: skipped when there is none",
    ),
    Difference(
        ("*/uiTokenAmount/uiAmountString", "/token supply/result/value/uiAmountString"),
        "without trailing zeros, and with the decimals of the mint",
        "agave account-decoder parse_token.rs real_number_string_trimmed",
    ),
    Difference(
        ("*/uiTokenAmount/uiAmount",),
        "null for nothing in a transaction's balances: no float of zero is stored",
        "agave storage-proto convert.rs, TransactionTokenBalance",
    ),
    Difference(
        ("/priority*",),
        "the priority fee of version 1 is in whole lamports, charged, and in meta.fee",
        "SIMD-0385; solana-message v1 TransactionConfig",
    ),
    Difference(
        ("/bad address/*", "/bad letters/*", "/bad signature/*"),
        "-32602 with the reason alone: `Invalid param: WrongSize` or `Invalid`",
        "agave rpc/src/rpc.rs verify_pubkey, verify_signature",
    ),
    Difference(
        ("/batch",),
        "a batch is answered with a list",
        "jsonrpc-core handle_rpc_request, used by agave; JSON-RPC 2.0 section 6",
    ),
    Difference(
        ("/no request/*",),
        "-32600 `Invalid request` with the id that was given",
        "jsonrpc-core types/request.rs Call::Invalid",
    ),
    Difference(
        ("/before unknown/*", "/until unknown/*"),
        "-32020 since September 2025; before, an empty list and everything",
        "agave PR 7937",
    ),
    Difference(
        ("/block ahead/*",),
        "-32004 for a slot that is not there yet",
        "agave rpc/src/rpc.rs get_block",
    ),
    Difference(
        ("/context ahead/*",),
        "-32016 when minContextSlot is not reached",
        "agave rpc/src/rpc.rs get_signatures_for_address",
    ),
    Difference(
        ("/context reached/*",),
        "minContextSlot is a condition; Surfpool leaves out what is below it",
        "agave rpc/src/rpc.rs get_signatures_for_address: bank.slot() is compared",
    ),
    Difference(
        ("/limit 0/*", "/limit 1001/*"),
        "-32602 `Invalid limit; max 1000`",
        "agave rpc/src/rpc.rs verify_and_parse_signatures_for_address_params",
    ),
    Difference(
        ("/processed/*", "/listed processed/*"),
        "-32602: the methods read nothing below `confirmed`",
        "agave rpc/src/rpc.rs check_is_at_least_confirmed",
    ),
    Difference(
        ("/listed recipient/*",),
        "addresses from lookup tables are indexed like all others",
        "agave ledger blockstore.rs write_transaction_status: keys of both kinds",
    ),
    Difference(
        ("/version absent/*", "/version 0 of 1/*"),
        "-32015 for a version that the client did not ask for",
        "agave rpc-client-api custom_error.rs UnsupportedTransactionVersion",
    ),
    Difference(
        ("/no token/*", "/no token account/*"),
        "-32602 `Invalid param: could not find account`, `not a Token account`",
        "agave rpc/src/rpc.rs get_token_account_balance",
    ),
    Difference(
        ("/refused by */error/message",),
        "the error alone; the logs are in data",
        "agave rpc/src/rpc.rs send_transaction: `Transaction simulation failed: {err}`",
    ),
    Difference(
        ("/refused again/*",),
        "-32002 with the simulation as data, like any failed preflight",
        "agave rpc/src/rpc.rs send_transaction",
    ),
    Difference(
        ("/refused signature/*",),
        "-32003 `Transaction signature verification failure`",
        "agave rpc/src/rpc.rs verify_transaction",
    ),
    Difference(
        ("/simulated*/result/value/fee", "/refused by */error/data/fee"),
        "the fee that would be charged, in simulations",
        "agave rpc-client-api response.rs RpcSimulateTransactionResult.fee",
    ),
    Difference(
        ("*/loadedAccountsDataSize",),
        "the bytes of all accounts that are there, of the code of programs, and 64 for "
        "each of both",
        "agave svm account_loader.rs; SIMD-0186",
    ),
    Difference(
        ("/simulated*/result/value/p*Balances", "/simulated*/value/loadedAddresses"),
        "told like those of a transaction that has landed",
        "agave PR 6750",
    ),
    Difference(
        ("/simulated inner/result/value/innerInstructions/0/instructions/0/*",),
        "calls of known programs are parsed; ours parses none, which is the form for a "
        "program that a node does not know",
        "agave transaction-status parse_ui_instruction",
    ),
]
