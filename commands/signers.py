"""Keys that sign, by name; a key never leaves this module, nor shows in a repr."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from eth_account import Account

from commands.errors import SigningRefused


@dataclass(frozen=True, slots=True)
class Payload:
    """A legacy transaction to sign (EIP-155); amounts and prices in wei."""

    chain_id: int
    nonce: int
    gas_price: int
    gas: int
    to: bytes
    value: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Signed:
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

    def sign(self, payload: Payload) -> Signed:
        """Sign; raises SigningRefused when it will not."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """A key held in this process."""

    name: str
    address: bytes
    _key: bytes = field(repr=False)

    def sign(self, payload: Payload) -> Signed:
        """Sign a legacy transaction."""
        signed = Account.sign_transaction(
            {
                "chainId": payload.chain_id,
                "nonce": payload.nonce,
                "gasPrice": payload.gas_price,
                "gas": payload.gas,
                "to": payload.to,
                "value": payload.value,
                "data": payload.data,
            },
            self._key,
        )
        return Signed(bytes(signed.raw_transaction), bytes(signed.hash))


def signer_from_key(name: str, key: str) -> LocalSigner:
    """A signer from a private key in hex, for development."""
    try:
        account = Account.from_key(key)
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
        key = bytes(Account.decrypt(json.loads(path.read_text()), password))
    except FileNotFoundError:
        raise SigningRefused(
            f"the keystore of signer {name} is not at {path}: correct its path"
        ) from None
    except Exception:
        raise SigningRefused(
            f"the keystore of signer {name} at {path} cannot be opened: check the "
            "password and that it is a keystore file"
        ) from None
    account = Account.from_key(key)
    return LocalSigner(name, bytes.fromhex(account.address[2:]), key)
