"""Ed25519 keys that sign, by name; a key never leaves this module, nor shows in a repr.

Three places of a key: a PKCS#8 file in PEM that a password encrypts
(`openssl genpkey -algorithm ed25519 -aes256`), the file of the Solana command line for
development (64 numbers in JSON), and an environment variable with either of base58 and
those numbers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from solders.keypair import Keypair

from commands.errors import SigningRefused
from db.bounded import load_json
from db.commands.solana.memory import GivenSignature
from idl.base58 import from_base58

FILE_BYTES_MAX = 1 << 16
KEYPAIR_BYTES = 64  # the seed, and the public key behind it


@dataclass(frozen=True, slots=True)
class Payload:
    """A message to sign, and what the guard must know of it.

    `intent` stands for what somebody asked for, whichever transaction does it;
    `settled` are the signatures for it that are known to be without effect. `lamports`
    and `tokens` (by mint) are what the signer would have less, by a simulation.
    """

    message: bytes
    intent: bytes
    last_valid: int
    slot: int
    settled: frozenset[bytes] = frozenset()
    lamports: int = 0
    tokens: tuple[tuple[bytes, int], ...] = ()


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

    def recall(self, intent: bytes, settled: frozenset[bytes]) -> list[GivenSignature]:
        """Return what was signed for an intent, without what is known to be settled."""
        ...

    def sign(self, payload: Payload) -> bytes:
        """Return the signature of a message.

        Raises SigningRefused when it will not, SigningHeld when not now, and
        UnknownSignatures when it has signed for the intent what the caller does not
        know of.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """A key held in this process."""

    name: str
    address: bytes
    _key: Keypair = field(repr=False)

    def recall(self, intent: bytes, settled: frozenset[bytes]) -> list[GivenSignature]:
        """A key alone has no memory."""
        return []

    def sign(self, payload: Payload) -> bytes:
        """Sign whatever it is given; only the guard (`guard`) refuses."""
        return bytes(self._key.sign_message(payload.message))


def signer_from_key(name: str, key: str) -> LocalSigner:
    """A signer from a keypair as text: base58, or numbers in JSON."""
    try:
        if key.strip().startswith("["):
            numbers = load_json(key.encode(), bytes_max=FILE_BYTES_MAX)
            return _signer(name, bytes(numbers))
        return _signer(name, from_base58(key.strip(), KEYPAIR_BYTES))
    except (ValueError, TypeError, RecursionError):
        # The library's message may hold the key.
        raise SigningRefused(
            f"the key of signer {name} is no keypair: set the environment variable to "
            "its 64 bytes in base58, or to the numbers of a Solana keypair file"
        ) from None


def signer_from_file(name: str, path: Path, password: str | None) -> LocalSigner:
    """A signer from a keypair file; `password` opens an encrypted one (PEM).

    Without a password it is the file of the Solana command line, for development.
    """
    try:
        content = path.read_bytes()
        if password is None:
            return _signer(name, bytes(load_json(content, bytes_max=FILE_BYTES_MAX)))
        key = load_pem_private_key(content, password.encode())
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("another kind of key")
        seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return _made(name, Keypair.from_seed(seed))
    except FileNotFoundError:
        raise SigningRefused(
            f"the key of signer {name} is not at {path}: correct its path"
        ) from None
    except OSError as error:
        raise SigningRefused(
            f"the key of signer {name} at {path} cannot be read: {error.strerror}. Let "
            "the user that runs this read it, and nobody else"
        ) from None
    except Exception:
        kind = "an Ed25519 key in PEM, and the password" if password else "a keypair"
        raise SigningRefused(
            f"the key of signer {name} at {path} cannot be opened: check that the file "
            f"holds {kind}"
        ) from None


def _signer(name: str, raw: bytes) -> LocalSigner:
    if len(raw) != KEYPAIR_BYTES:
        raise ValueError("not 64 bytes")
    return _made(name, Keypair.from_bytes(raw))


def _made(name: str, key: Keypair) -> LocalSigner:
    return LocalSigner(name, bytes(key.pubkey()), key)
