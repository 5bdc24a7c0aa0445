"""Transactions as JSON-RPC says them: `eth_signTransaction`, as web3signer takes it."""

import re
from collections.abc import Mapping
from typing import Any

from commands.errors import SigningRefused
from commands.evm.signers import Payload


def as_parameters(payload: Payload, sender: bytes) -> dict[str, str]:
    """A transaction as the parameter of `eth_signTransaction`."""
    fees = {"gasPrice": hex(payload.gas_price)}
    if payload.priority_fee is not None:
        fees = {
            "maxFeePerGas": hex(payload.gas_price),
            "maxPriorityFeePerGas": hex(payload.priority_fee),
        }
    return {
        "from": "0x" + sender.hex(),
        "to": "0x" + payload.to.hex(),
        "nonce": hex(payload.nonce),
        "gas": hex(payload.gas),
        "value": hex(payload.value),
        "data": "0x" + payload.data.hex(),
        "chainId": hex(payload.chain_id),
        **fees,
    }


def as_payload(content: Mapping[str, Any]) -> tuple[bytes, Payload]:
    """The sender and the transaction of a parameter; raises SigningRefused."""
    try:
        dynamic = "maxFeePerGas" in content
        price = _number(content["maxFeePerGas" if dynamic else "gasPrice"])
        payload = Payload(
            chain_id=_number(content["chainId"], 64),
            nonce=_number(content["nonce"], 64),
            gas_price=price,
            gas=_number(content["gas"], 63),
            to=_bytes(content["to"], 20),
            value=_number(content.get("value", "0x0")),
            data=_bytes(content.get("data", "0x")),
            priority_fee=_number(content["maxPriorityFeePerGas"]) if dynamic else None,
        )
        return _bytes(content["from"], 20), payload
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SigningRefused(
            f"this is not a transaction to sign ({error!r}): give from, to, nonce, "
            "gas, value, data, chainId and gasPrice, or both fees, each as 0x…"
        ) from None


def as_sender(content: Mapping[str, Any]) -> bytes:
    """The account that a parameter names; raises SigningRefused."""
    try:
        return _bytes(content["from"], 20)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SigningRefused("name an account: from, 20 bytes as 0x…") from None


def _number(content: str, bits: int = 256) -> int:
    if not re.fullmatch("0x[0-9a-fA-F]{1,64}", content):
        raise ValueError(content)
    number = int(content, 16)
    if number >= 1 << bits:
        raise ValueError(content)
    return number


def _bytes(content: str, length: int | None = None) -> bytes:
    if not content.startswith("0x"):
        raise ValueError(content)
    found = bytes.fromhex(content[2:])
    if length is not None and len(found) != length:
        raise ValueError(content)
    return found
