"""Parse values of settings; each ValueError names the remedy."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

from eth_utils.address import is_checksum_formatted_address, to_checksum_address
from limits import parse_many
from solders.pubkey import Pubkey

from api.auth.jwks import LOOPBACK
from ops.settings.model import ValidatorKey
from ops.settings.redact import redact_url
from ops.settings.secret import SecretUrl

_CAIP2 = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
_HEX20 = re.compile(r"0x[0-9a-fA-F]{40}")
_HEX48 = re.compile(r"0x[0-9a-fA-F]{96}")
_HEX32 = re.compile(r"0x[0-9a-fA-F]{64}")
_AMOUNT = re.compile(r"([0-9]{1,60}(?:\.[0-9]{1,18})?)(?: *(wei|gwei|ether))?")
_DIGITS = {"wei": 0, "gwei": 9, "ether": 18}
NAMESPACES = ("eip155", "solana")


def address(text: str) -> bytes:
    """Return an address's 20 bytes; mixed case must carry a right checksum."""
    if not _HEX20.fullmatch(text):
        digits = len(text.removeprefix("0x"))
        raise ValueError(
            f"{_short(text)} is not an address: 0x and 40 hex digits ({digits} here)"
        )
    if (
        is_checksum_formatted_address(text)
        and to_checksum_address(text.lower()) != text
    ):
        raise ValueError(
            f"{text} has a wrong checksum, so a digit may be mistyped: check it, then "
            f"write {to_checksum_address(text.lower())}"
        )
    return bytes.fromhex(text[2:])


def pubkey(text: str) -> bytes:
    """Return a Solana address's 32 bytes."""
    try:
        return bytes(Pubkey.from_string(text))
    except ValueError:
        raise ValueError(
            f"{_short(text)} is not a Solana address: 32 bytes in base58"
        ) from None


def validator(text: str) -> ValidatorKey:
    """Return a validator: an address, on BLS chains with `:` and its public key."""
    where, _, key = text.partition(":")
    if key and not _HEX48.fullmatch(key):
        raise ValueError(f"{_short(key)} is not a BLS key: 0x and 96 hex digits")
    return ValidatorKey(address(where), bytes.fromhex(key[2:]))


def block_hash(text: str) -> bytes:
    """Return a hash's 32 bytes."""
    if not _HEX32.fullmatch(text):
        raise ValueError(f"{_short(text)} is not a block hash: 0x and 64 hex digits")
    return bytes.fromhex(text[2:])


def chain_id(text: str) -> str:
    """Return a CAIP-2 chain id."""
    namespace, _, reference = text.partition(":")
    if not _CAIP2.fullmatch(text):
        raise ValueError(
            f'{_short(text)} is not a CAIP-2 chain id: write "eip155:<chain id>" for '
            f'an EVM chain, "solana:<genesis hash, 32 characters>" for Solana'
        )
    if namespace not in NAMESPACES:
        raise ValueError(
            f"chains of {namespace} cannot be followed: only {' and '.join(NAMESPACES)}"
        )
    if namespace == "eip155" and not re.fullmatch(r"[1-9][0-9]*", reference):
        raise ValueError(f"{text}: an EVM chain id is a decimal number")
    return text


def database_url(text: str) -> SecretUrl:
    """Return a Postgres URL for SQLAlchemy's psycopg2 driver."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg2"):
        raise ValueError(
            f"{redact_url(_short(text))} is not a Postgres URL: write "
            f"postgresql://user:password@host:5432/name"
        )
    _check_port(text)
    return SecretUrl(f"postgresql+psycopg2://{rest}")


def redis_url(text: str) -> SecretUrl:
    """Return a Redis URL."""
    if text.partition("://")[0] not in ("redis", "rediss", "unix"):
        raise ValueError(
            f"{redact_url(_short(text))} is not a Redis URL: write "
            f'redis://host:6379/0, or "none" to do without'
        )
    _check_port(text)
    return SecretUrl(text)


def http_url(text: str) -> SecretUrl:
    """Return an HTTP endpoint."""
    scheme, separator, rest = text.partition("://")
    if scheme not in ("http", "https") or not separator or not rest:
        raise ValueError(
            f"{redact_url(_short(text))} is not an endpoint: write http://host:8545 "
            f"or https://…"
        )
    _check_port(text)
    return SecretUrl(text)


def websocket_url(text: str) -> SecretUrl:
    """Return the address of an endpoint's WebSocket."""
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(
            f"{redact_url(_short(text))} is not a WebSocket: write ws://host:8900 or "
            "wss://…"
        )
    _check_port(text)
    return SecretUrl(text)


def _check_port(text: str) -> None:
    """Check the port here, where the error can name the key."""
    try:
        _ = urlsplit(text).port
    except ValueError:
        raise ValueError(
            f"{redact_url(_short(text))} has a port that is no number up to 65535"
        ) from None


def trusted_url(text: str) -> SecretUrl:
    """Return a URL with HTTPS, or of this machine."""
    url, parts = http_url(text), urlsplit(text)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError(f"{redact_url(text)} can be changed on its way: use https")
    return url


def origin(text: str) -> str:
    """Return where a page comes from, as browsers write it."""
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or text != f"{parts.scheme}://{parts.netloc}".lower()
        or "@" in text
        or "*" in text
    ):
        raise ValueError(
            f"{redact_url(_short(text))} is not an origin: write https://host or "
            "https://host:port, in lower case, with nothing behind it"
        )
    return text


def rate(text: str) -> str:
    """Return how often something may happen, "" for without a limit."""
    if text == "none":
        return ""
    try:
        parse_many(text)
    except ValueError:
        raise ValueError(
            f'{_short(text)} is not a limit: write "600/minute", or "none"'
        ) from None
    return text


def signer_url(text: str) -> SecretUrl:
    """Return where a signing process listens: a Unix socket, or an HTTP endpoint."""
    if text.startswith("unix:") and text.removeprefix("unix:").strip("/"):
        return SecretUrl(text)
    try:
        return http_url(text)
    except ValueError:
        raise ValueError(
            f"{redact_url(_short(text))} is not where a signer listens: write "
            "unix:/path/to/sign.sock or http://127.0.0.1:9000"
        ) from None


def bucket(text: str) -> str:
    """Return the name of a bucket."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text):
        raise ValueError(
            f"{_short(text)!r} is no bucket's name: write it alone, without s3:// or a "
            "path, which goes into prefix"
        )
    return text


def prefix(text: str) -> str:
    """Return a place in a bucket."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?", text):
        raise ValueError(f"{_short(text)!r} is no prefix: write it as in kyc/live")
    return text.rstrip("/")


def wei(text: str) -> int:
    """Return an amount in wei: `"1000"`, `"30 gwei"`, `"1.5 ether"`."""
    found = _AMOUNT.fullmatch(text.strip())
    if not found:
        raise ValueError(
            f'{_short(text)!r} is not an amount: write "1000", "30 gwei", "1.5 ether"'
        )
    number, unit = found.groups()
    whole = Decimal(number) * 10 ** _DIGITS[unit or "wei"]
    if whole != int(whole):
        raise ValueError(f"{text}: there is nothing smaller than a wei")
    return int(whole)


def _short(text: str) -> str:
    """Show what was written, but not all of a secret pasted into the wrong place."""
    return text if len(text) <= 42 or "://" in text else f"{text[:6]}…"
