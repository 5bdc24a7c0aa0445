"""Sign-In with Ethereum (EIP-4361): the message a wallet signs, read and checked.

    app.example wants you to sign in with your Ethereum account:
    0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

    Any one line, or none.

    URI: https://app.example/login
    Version: 1
    Chain ID: 1
    Nonce: 32891756
    Issued At: 2026-01-31T12:00:00Z
    Expiration Time: 2026-01-31T12:05:00Z

Nothing is taken from a message before all of it was read; what the standard leaves to
the server (the domain, the URI's origin, the chain, the age) is decided here.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from api.auth.messages import (
    MESSAGE_LENGTH,
    TIME,
    BadMessage,
    check_origin,
    check_times,
    read_time,
    read_time_or_none,
)
from api.auth.options import AuthOptions, ContractCall

# isValidSignature(bytes32,bytes), and what it returns when it is (EIP-1271).
_IS_VALID = bytes.fromhex("1626ba7e")
_MESSAGE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<domain>[^\s/?#@]+)"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n"
    r"\n"
    r"(?:(?P<statement>[ -~]+)\n)?"
    r"\n"
    r"URI: (?P<uri>[!-~]+)\n"
    r"Version: (?P<version>\d+)\n"
    r"Chain ID: (?P<chain_id>\d{1,18})\n"
    r"Nonce: (?P<nonce>[a-zA-Z0-9]{8,64})\n"
    rf"Issued At: (?P<issued_at>{TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{TIME}))?"
    r"(?:\nRequest ID: (?P<request_id>[!-~]*))?"
    r"(?:\nResources:(?P<resources>(?:\n- [!-~]+)*))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read, and not yet believed."""

    scheme: str | None
    domain: str
    address: str
    uri: str
    version: int
    chain_id: int
    nonce: str
    issued_at: datetime
    expiration_time: datetime | None
    not_before: datetime | None

    @property
    def wallet(self) -> bytes:
        """The address as its 20 bytes."""
        return bytes.fromhex(self.address[2:])


def read_message(text: str) -> Message:
    """Read a message; raises BadMessage unless every line is as the standard has it."""
    found = _MESSAGE.fullmatch(text) if len(text) <= MESSAGE_LENGTH else None
    if found is None:
        raise BadMessage(
            "It is not a message as EIP-4361 has it. Sign one with all its lines."
        )
    return Message(
        scheme=found["scheme"],
        domain=found["domain"],
        address=found["address"],
        uri=found["uri"],
        version=int(found["version"]),
        chain_id=int(found["chain_id"]),
        nonce=found["nonce"],
        issued_at=read_time(found["issued_at"]),
        expiration_time=read_time_or_none(found["expiration_time"]),
        not_before=read_time_or_none(found["not_before"]),
    )


def check_message(message: Message, options: AuthOptions, now: datetime) -> None:
    """Raise BadMessage unless it was made for us, and now."""
    check_origin(
        options.origins, domain=message.domain, scheme=message.scheme, uri=message.uri
    )
    if message.version != 1:
        raise BadMessage("Version: only 1 is known.")
    if message.chain_id not in options.chain_ids:
        known = ", ".join(map(str, sorted(options.chain_ids))) or "none"
        raise BadMessage(f"Chain ID: use one of these: {known}.")
    if message.address != to_checksum_address(message.address):
        raise BadMessage("Address: its checksum is wrong. Write it as EIP-55 has it.")
    if message.expiration_time is None:
        raise BadMessage("Expiration Time: there is none. Sign a message with one.")
    check_times(message, now)


def signed_by(text: str, signature: bytes, wallet: bytes) -> bool:
    """Whether a wallet's own key signed a text."""
    if len(signature) != 65:
        return False
    try:
        signer = Account.recover_message(encode_defunct(text=text), signature=signature)
    except Exception:
        # The library raises whatever its parts raise on bytes that are no signature.
        return False
    return bytes.fromhex(signer[2:]) == wallet


def accepted_by_contract(
    text: str, signature: bytes, wallet: bytes, *, chain_id: int, call: ContractCall
) -> bool:
    """Whether a wallet that is a contract accepts a signature of a text (EIP-1271)."""
    content = text.encode()
    prefix = b"\x19Ethereum Signed Message:\n" + str(len(content)).encode()
    words = (len(signature) + 31) // 32 * 32
    data = (
        _IS_VALID
        + keccak(prefix + content)
        + (64).to_bytes(32, "big")
        + len(signature).to_bytes(32, "big")
        + signature.ljust(words, b"\0")
    )
    return call(chain_id, wallet, data) == _IS_VALID.ljust(32, b"\0")
