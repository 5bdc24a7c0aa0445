"""The calls that the signing process answers for EVM chains."""

import logging
from collections.abc import Mapping
from typing import Any

from commands.errors import SigningRefused
from commands.evm.signing.guard import GuardedSigner
from commands.evm.signing.wire import as_payload, as_sender
from commands.signing.server import Methods

log = logging.getLogger(__name__)


def methods(signers: Mapping[bytes, GuardedSigner]) -> Methods:
    """Return the calls that are answered with these keys, by address."""

    def signer(address: bytes) -> GuardedSigner:
        if address not in signers:
            raise SigningRefused(
                f"there is no key for 0x{address.hex()} here: correct the address of "
                "the signer, or give this process its key"
            )
        return signers[address]

    def floor(parameter: dict[str, Any]) -> int:
        return signer(as_sender(parameter)).floor()

    def permits(parameter: dict[str, Any]) -> bool:
        sender, payload = as_payload(parameter)
        signer(sender).permits(payload)
        return True

    def sign(parameter: dict[str, Any]) -> str:
        sender, payload = as_payload(parameter)
        found = signer(sender)
        signed = found.sign(payload)
        log.info("signed signer=%s nonce=%s", found.name, payload.nonce)
        return "0x" + signed.raw.hex()

    return {
        "chainfold_floor": floor,
        "chainfold_permits": permits,
        "eth_signTransaction": sign,
    }
