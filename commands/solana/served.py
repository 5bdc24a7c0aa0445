"""Keys of Solana in a process of their own: calls, and how they say what is asked.

A call has one parameter: the account and the message, what the guard must know of it,
and what the asker knows to be without effect. Signatures and keys are base58, bytes
base64, numbers are numbers.
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from commands.errors import SigningRefused
from commands.signing.server import Methods
from commands.solana.guard import GuardedSigner, UnknownSignatures
from commands.solana.signers import Payload
from db.commands.solana.memory import GivenSignature
from idl.base58 import from_base58, to_base58

SIGN, RECALL = "chainfold_signSolana", "chainfold_recallSolana"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
NUMBER_MAX = (1 << 63) - 1
INTENT_BYTES_MAX = 1 << 10

log = logging.getLogger(__name__)


def methods(signers: Mapping[bytes, GuardedSigner]) -> Methods:
    """Return the calls that are answered with these keys, by address."""

    def signer(parameter: dict[str, Any]) -> GuardedSigner:
        address = _key(parameter.get("account"))
        if address not in signers:
            raise SigningRefused(
                f"there is no key for {to_base58(address)} here: correct the address "
                "of the signer, or give this process its key"
            )
        return signers[address]

    def sign(parameter: dict[str, Any]) -> dict[str, Any]:
        found, payload = signer(parameter), as_payload(parameter)
        try:
            signature = to_base58(found.sign(payload))
        except UnknownSignatures as error:
            return {"unknown": as_given(error.found)}
        log.info("signed signer=%s signature=%s", found.name, signature)
        return {"signature": signature}

    def recall(parameter: dict[str, Any]) -> list[dict[str, Any]]:
        intent, settled = _asked(parameter)
        return as_given(signer(parameter).recall(intent, settled))

    return {SIGN: sign, RECALL: recall}


def as_parameter(
    account: bytes, intent: bytes, settled: frozenset[bytes]
) -> dict[str, Any]:
    """Return what both calls say."""
    return {
        "account": to_base58(account),
        "intent": base64.b64encode(intent).decode(),
        "settled": sorted(map(to_base58, settled)),
    }


def of_payload(account: bytes, payload: Payload) -> dict[str, Any]:
    """Return the parameter that has a payload signed."""
    return {
        **as_parameter(account, payload.intent, payload.settled),
        "message": base64.b64encode(payload.message).decode(),
        "last_valid": payload.last_valid,
        "slot": payload.slot,
        "lamports": payload.lamports,
        "tokens": [[to_base58(mint), amount] for mint, amount in payload.tokens],
    }


def as_payload(parameter: Mapping[str, Any]) -> Payload:
    """Read what is to be signed; raises SigningRefused."""
    intent, settled = _asked(parameter)
    try:
        tokens = tuple(
            (_key(mint), _number(amount)) for mint, amount in parameter["tokens"]
        )
        return Payload(
            message=base64.b64decode(parameter["message"], validate=True),
            intent=intent,
            last_valid=_number(parameter["last_valid"]),
            slot=_number(parameter["slot"]),
            settled=settled,
            lamports=_number(parameter["lamports"]),
            tokens=tokens,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _unread(error) from None


def as_given(found: Sequence[GivenSignature]) -> list[dict[str, Any]]:
    """Return signatures that were given, as JSON says them."""
    return [
        {
            "signature": to_base58(each.signature),
            "slot": each.slot,
            "last_valid": each.last_valid,
        }
        for each in found
    ]


# Any: what somebody else wrote as JSON.
def read_given(found: Any) -> list[GivenSignature]:
    """Read signatures that were given; raises SigningRefused."""
    try:
        return [
            GivenSignature(
                from_base58(each["signature"], SIGNATURE_BYTES),
                _number(each["slot"]),
                _number(each["last_valid"]),
            )
            for each in found
        ]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _unread(error) from None


def _asked(parameter: Mapping[str, Any]) -> tuple[bytes, frozenset[bytes]]:
    try:
        intent = base64.b64decode(parameter["intent"], validate=True)
        if len(intent) > INTENT_BYTES_MAX:
            raise ValueError("intent")
        settled = (from_base58(each, SIGNATURE_BYTES) for each in parameter["settled"])
        return intent, frozenset(settled)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _unread(error) from None


def _key(text: Any) -> bytes:
    try:
        return from_base58(text, KEY_BYTES)
    except (TypeError, ValueError, AttributeError) as error:
        raise _unread(error) from None


def _number(value: Any) -> int:
    if type(value) is not int or not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise ValueError(value)
    return value


def _unread(error: Exception) -> SigningRefused:
    return SigningRefused(
        f"this is nothing to sign ({str(error)[:100]!r}): give account, intent, "
        "settled, message, last_valid, slot, lamports and tokens, as Chainfold does"
    )
