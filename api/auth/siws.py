"""Sign-In with Solana: the message a wallet signs, read and checked.

    app.example wants you to sign in with your Solana account:
    4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T

    Any one line, or none.

    URI: https://app.example/login
    Version: 1
    Chain ID: mainnet
    Nonce: 32891756
    Issued At: 2026-01-31T12:00:00Z
    Expiration Time: 2026-01-31T12:05:00Z

The form is that of the wallet standard's feature `solana:signIn`
(github.com/phantom/sign-in-with-solana, its ABNF). The standard lets every line below
the statement be absent; here the nonce and the time of issue must be there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from solders.pubkey import Pubkey
from solders.signature import Signature

from api.auth.messages import (
    MESSAGE_LENGTH,
    TIME,
    BadMessage,
    check_origin,
    check_times,
    read_time,
    read_time_or_none,
)
from api.auth.options import AuthOptions
from idl.base58 import from_base58

KEY_BYTES, SIGNATURE_BYTES = 32, 64
# What wallets call a cluster, by its chain id in CAIP-2; others are "localnet".
_CLUSTERS = {
    "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp": "mainnet",
    "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z": "testnet",
    "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1": "devnet",
}
_LETTERS = "[1-9A-HJ-NP-Za-km-z]"
_MESSAGE = re.compile(
    r"(?P<domain>[^\s/?#@]+) wants you to sign in with your Solana account:\n"
    rf"(?P<address>{_LETTERS}{{32,44}})\n"
    r"(?:\n(?P<statement>[ -~]+)\n)?"
    r"(?:\nURI: (?P<uri>[!-~]+))?"
    r"(?:\nVersion: (?P<version>\d+))?"
    r"(?:\nChain ID: (?P<chain_id>[-:_a-zA-Z0-9]{1,64}))?"
    r"\nNonce: (?P<nonce>[a-zA-Z0-9]{8,64})"
    rf"\nIssued At: (?P<issued_at>{TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{TIME}))?"
    r"(?:\nRequest ID: (?P<request_id>[!-~]*))?"
    r"(?:\nResources:(?P<resources>(?:\n- [!-~]+)*))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class SolanaMessage:
    """A message that was read, and not yet believed; `wallet` has the address."""

    domain: str
    wallet: bytes
    uri: str | None
    version: str | None
    chain_id: str | None
    nonce: str
    issued_at: datetime
    expiration_time: datetime | None
    not_before: datetime | None


def read_message(text: str) -> SolanaMessage:
    """Read a message; raises BadMessage unless every line is as the standard has it."""
    found = _MESSAGE.fullmatch(text) if len(text) <= MESSAGE_LENGTH else None
    if found is None:
        raise BadMessage(
            "It is not a message of Sign-In with Solana. Sign one with the lines "
            "Nonce and Issued At."
        )
    try:
        wallet = from_base58(found["address"], KEY_BYTES)
    except ValueError as error:
        raise BadMessage(f"Address: {error}.") from None
    return SolanaMessage(
        domain=found["domain"],
        wallet=wallet,
        uri=found["uri"],
        version=found["version"],
        chain_id=found["chain_id"],
        nonce=found["nonce"],
        issued_at=read_time(found["issued_at"]),
        expiration_time=read_time_or_none(found["expiration_time"]),
        not_before=read_time_or_none(found["not_before"]),
    )


def check_message(message: SolanaMessage, options: AuthOptions, now: datetime) -> None:
    """Raise BadMessage unless it was made for us, and now."""
    check_origin(options.origins, domain=message.domain, scheme=None, uri=message.uri)
    if message.version not in (None, "1"):
        raise BadMessage("Version: only 1 is known.")
    known = names_of(options.clusters)
    if not known or message.chain_id not in (None, *known):
        raise BadMessage(f"Chain ID: use one of these: {', '.join(known) or 'none'}.")
    check_times(message, now)


def read_signature(text: str) -> bytes:
    """Return the 64 bytes of a signature in base58; raises BadMessage."""
    try:
        return from_base58(text, SIGNATURE_BYTES)
    except ValueError:
        raise BadMessage("Signature: write 64 bytes in base58.") from None


def signed_by(text: str, signature: bytes, wallet: bytes) -> bool:
    """Whether a wallet's own key signed the bytes of a text, as the chain would see it.

    The rule is that of Solana itself, ed25519-dalek's `verify_strict`: no key of small
    order, for which anybody can sign, and one form of each signature.
    """
    return Signature.from_bytes(signature).verify(
        Pubkey.from_bytes(wallet), text.encode()
    )


def names_of(clusters: Iterable[str]) -> list[str]:
    """Return what messages may call these clusters, which are CAIP-2 ids."""
    found = set()
    for each in clusters:
        name = _CLUSTERS.get(each, "localnet")
        found |= {name, f"solana:{name}", each}
    return sorted(found)
