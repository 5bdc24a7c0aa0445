"""Keys that sign, by name; a key never leaves this module, nor shows in a repr."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from commands.errors import SigningRefused
from db.bounded import load_json

KEYSTORE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Payload:
    """A transaction to sign; amounts and prices in wei.

    Without a `priority_fee` a legacy one (EIP-155); with it an EIP-1559 one, of which
    `gas_price` is the most that is paid for a unit of gas.
    """

    chain_id: int
    nonce: int
    gas_price: int
    gas: int
    to: bytes
    value: int
    data: bytes
    priority_fee: int | None = None


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """The bytes to broadcast and their hash."""

    raw: bytes
    hash: bytes


class Signer(Protocol):
    """Something that can sign; its address is all that may be known of it."""

    @property
    def name(self) -> str:
        """Its name in the settings."""
        ...

    @property
    def address(self) -> bytes:
        """The account that its signatures speak for."""
        ...

    def permits(self, payload: Payload) -> None:
        """Raise what `sign` would, for any nonce; nothing is signed nor remembered."""
        ...

    def floor(self) -> int:
        """The nonce after the last that it remembers to have signed; 0: none."""
        ...

    def sign(self, payload: Payload) -> SignedBytes:
        """Sign; raises SigningRefused when it will not, SigningHeld when not now."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """A key held in this process."""

    name: str
    address: bytes
    _key: bytes = field(repr=False)

    def permits(self, payload: Payload) -> None:
        """A key alone has no rules."""

    def floor(self) -> int:
        """A key alone has no memory."""
        return 0

    def sign(self, payload: Payload) -> SignedBytes:
        """Sign whatever it is given; only the guard (`signing.guard`) refuses."""
        fees: dict[str, Any] = {"gasPrice": payload.gas_price}
        if payload.priority_fee is not None:
            fees = {
                "type": 2,
                "maxFeePerGas": payload.gas_price,
                "maxPriorityFeePerGas": payload.priority_fee,
            }
        content = {
            "chainId": payload.chain_id,
            "nonce": payload.nonce,
            "gas": payload.gas,
            "to": payload.to,
            "value": payload.value,
            "data": payload.data,
            **fees,
        }
        signed = _accounts().sign_transaction(content, self._key)
        return SignedBytes(bytes(signed.raw_transaction), bytes(signed.hash))


def _accounts() -> Any:
    """The library of keys; loading it takes a second, which only signing needs."""
    from eth_account import Account

    return Account


def signer_from_key(name: str, key: str) -> LocalSigner:
    """A signer from a private key in hex, for development."""
    try:
        account = _accounts().from_key(key)
    except Exception:
        # The library's message may hold the key.
        raise SigningRefused(
            f"the key of signer {name} is not a private key in hex: correct the "
            "environment variable that holds it"
        ) from None
    return LocalSigner(name, bytes.fromhex(account.address[2:]), bytes(account.key))


def signer_from_keystore(name: str, path: Path, password: str) -> LocalSigner:
    """A signer from an encrypted keystore file (Web3 Secret Storage)."""
    try:
        keystore = load_json(path.read_bytes(), bytes_max=KEYSTORE_BYTES_MAX)
        key = bytes(_accounts().decrypt(keystore, password))
    except FileNotFoundError:
        raise SigningRefused(
            f"the keystore of signer {name} is not at {path}: correct its path"
        ) from None
    except OSError as error:
        raise SigningRefused(
            f"the keystore of signer {name} at {path} cannot be read: "
            f"{error.strerror}. Let the user that runs this read it, and nobody else"
        ) from None
    except Exception:
        raise SigningRefused(
            f"the keystore of signer {name} at {path} cannot be opened: check the "
            "password and that it is a keystore file"
        ) from None
    account = _accounts().from_key(key)
    return LocalSigner(name, bytes.fromhex(account.address[2:]), key)
