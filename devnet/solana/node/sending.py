"""Methods that take transactions: sending, simulating, pricing, and the faucet."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from solders.message import from_bytes_versioned
from solders.transaction import VersionedTransaction

from . import errors
from .base58 import b58decode
from .call import Call, pubkey
from .encoding import (
    encode_account,
    inner_instructions,
    return_data,
    version_of,
    written_meta,
)
from .errors import RpcError, invalid
from .machine import Simulated, Told
from .state import latest_blockhash

PACKET_BYTES = 1_232
V1_BYTES = 4_096
LAMPORTS_PER_SIGNATURE = 5_000
TRANSACTION = "solana_transaction::versioned::VersionedTransaction"
MESSAGE = "solana_message::versions::VersionedMessage"


def send_transaction(call: Call) -> Any:
    """Take a transaction and return its signature; it may never land all the same."""
    config = call.config(1)
    sent = decode(call.text(0), config)
    if not config.get("skipPreflight"):
        _preflight(call, sent, config)
    if call.chain.blockhash_is_valid(
        sent.message.recent_blockhash, call.chain.tip.slot
    ) and all(sent.verify_with_results()):
        call.chain.execute(sent)
    return str(sent.signatures[0])


def _preflight(call: Call, sent: VersionedTransaction, config: dict[str, Any]) -> None:
    if not all(sent.verify_with_results()):
        raise RpcError(
            errors.SIGNATURE_FAILURE, "Transaction signature verification failure"
        )
    slot = call.slot(
        {
            "commitment": config.get("preflightCommitment"),
            "minContextSlot": config.get("minContextSlot"),
        }
    )
    told = _told(call, sent, slot) or call.chain.machine.simulate(sent).done.told
    if told.error is not None:
        raise RpcError(
            errors.PREFLIGHT_FAILURE,
            f"Transaction simulation failed: {errors.describe(told.error)}",
            _simulation(told),
        )


def _told(call: Call, sent: VersionedTransaction, slot: int) -> Told | None:
    """Return what refuses a transaction before it runs, by what a slot knows."""
    if str(sent.signatures[0]) in call.chain.by_signature:
        return Told("AlreadyProcessed", [], [], 0, 0, None)
    if not call.chain.blockhash_is_valid(sent.message.recent_blockhash, slot):
        return Told("BlockhashNotFound", [], [], 0, 0, None)
    return None


def simulate_transaction(call: Call) -> Any:
    """Return what a transaction would do."""
    config = call.config(1)
    sent = decode(call.text(0), config)
    slot = call.slot(config)
    replaced = None
    if config.get("replaceRecentBlockhash"):
        if config.get("sigVerify"):
            raise invalid("sigVerify may not be used with replaceRecentBlockhash")
        replaced = latest_blockhash(call, slot)
    if config.get("sigVerify") and not all(sent.verify_with_results()):
        raise RpcError(
            errors.SIGNATURE_FAILURE, "Transaction signature verification failure"
        )
    simulated = call.chain.machine.simulate(sent)
    refused = None if replaced else _told(call, sent, slot)
    body = _simulation(refused) if refused else _whole(simulated)
    body["replacementBlockhash"] = replaced
    if config.get("innerInstructions"):
        done = simulated.done
        body["innerInstructions"] = (
            [] if refused else inner_instructions(done.told, done.keys, parsed=True)
        )
    if config.get("accounts") is not None:
        body["accounts"] = _left(call, simulated, config["accounts"], body["err"])
    return call.context(slot, body)


def _whole(simulated: Simulated) -> dict[str, Any]:
    """Return all that a simulation tells, balances too (agave PR 6750)."""
    written = written_meta(simulated.done, parsed=False)
    return {
        **_simulation(simulated.done.told),
        "loadedAccountsDataSize": simulated.loaded_bytes,
        **{
            name: written[name]
            for name in written
            if name.endswith("Balances") or name == "loadedAddresses"
        },
    }


def _left(
    call: Call, simulated: Simulated, wanted: dict[str, Any], error: Any
) -> list[Any]:
    """Return the accounts asked for, as the simulation left them."""
    addresses, encoding = wanted.get("addresses", []), wanted.get("encoding", "base64")
    if encoding in ("binary", "base58"):
        raise invalid("base58 encoding not supported")
    most = len(simulated.done.keys)
    if len(addresses) > most:
        raise invalid(f"Too many accounts provided; max {most}")
    if error is not None:
        return [None] * len(addresses)
    keys = [pubkey(text) for text in addresses]
    found = [simulated.left.get(key) or call.chain.machine.account(key) for key in keys]
    return [one and encode_account(one, encoding) for one in found]


def _simulation(told: Told) -> dict[str, Any]:
    return {
        "err": told.error,
        "logs": told.logs,
        "accounts": None,
        "unitsConsumed": told.units,
        "loadedAccountsDataSize": None,
        "returnData": return_data(told),
        "innerInstructions": None,
        "replacementBlockhash": None,
        "fee": told.fee or None,
        "preBalances": None,
        "postBalances": None,
        "preTokenBalances": None,
        "postTokenBalances": None,
        "loadedAddresses": None,
    }


def get_fee_for_message(call: Call) -> Any:
    """Return what a message would cost, or null when its blockhash cannot be used."""
    raw = _binary(call.text(0), "base64", MESSAGE)
    try:
        message: Any = from_bytes_versioned(raw)
    except Exception as error:  # whatever the decoder raises, the bytes are wrong
        raise invalid(f"failed to deserialize {MESSAGE}: {error}") from None
    slot = call.slot(call.config(1))
    if not call.chain.blockhash_is_valid(message.recent_blockhash, slot):
        return call.context(slot, None)
    sent = VersionedTransaction.populate(message, [])
    told = call.chain.machine.simulate(sent).done.told
    signatures = message.header.num_required_signatures
    return call.context(slot, told.fee or LAMPORTS_PER_SIGNATURE * signatures)


def request_airdrop(call: Call) -> Any:
    """Pay from the faucet."""
    return call.chain.airdrop(pubkey(call.text(0)), call.number(1))


def decode(text: str, config: dict[str, Any]) -> VersionedTransaction:
    """Return a transaction from what was sent, or say why it is none."""
    encoding = config.get("encoding") or "base58"
    if encoding not in ("base58", "base64"):
        raise invalid(
            f"unsupported encoding: {encoding}. Supported encodings: base58, base64"
        )
    raw = _binary(text, encoding, TRANSACTION)
    try:
        sent = VersionedTransaction.from_bytes(raw)
    except Exception as error:  # whatever the decoder raises, the bytes are wrong
        raise invalid(f"failed to deserialize {TRANSACTION}: {error}") from None
    most = V1_BYTES if version_of(sent) == 1 else PACKET_BYTES
    if len(raw) > most:
        raise invalid(
            f"decoded {TRANSACTION} too large: {len(raw)} bytes (max: {most} bytes)"
        )
    try:
        sent.sanitize()
    except Exception as error:
        raise invalid(f"invalid transaction: {error}") from None
    return sent


def _binary(text: str, encoding: str, kind: str) -> bytes:
    try:
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        return b58decode(text)
    except (ValueError, binascii.Error) as error:
        words = _base64_words(text) if encoding == "base64" else str(error)
        raise invalid(f"invalid {encoding} encoding: {words}") from None


def _base64_words(text: str) -> str:
    """Say what is wrong in the words of agave's decoder."""
    for place, letter in enumerate(text):
        if not (letter.isascii() and (letter.isalnum() or letter in "+/=")):
            return f"InvalidByte({place}, {ord(letter)})"
    return "InvalidPadding"


METHODS: dict[str, Callable[[Call], Any]] = {
    "sendTransaction": send_transaction,
    "simulateTransaction": simulate_transaction,
    "getFeeForMessage": get_fee_for_message,
    "requestAirdrop": request_airdrop,
}
