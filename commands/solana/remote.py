"""A key of Solana in another process: `chainfold sign serve`, over HTTP.

A signature is verified before it is trusted: it must be of the account that was
expected, over just the bytes that were asked for.
"""

from dataclasses import dataclass

from solders.pubkey import Pubkey
from solders.signature import Signature

from commands.errors import SigningRefused
from commands.signing.client import SigningPort
from commands.solana.guard import UnknownSignatures
from commands.solana.served import (
    RECALL,
    SIGN,
    SIGNATURE_BYTES,
    as_parameter,
    of_payload,
    read_given,
)
from commands.solana.signers import Payload
from db.commands.solana.memory import GivenSignature
from idl.base58 import from_base58


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """A key that is elsewhere; `url` is `unix:/path` or an HTTP endpoint."""

    name: str
    address: bytes
    url: str
    timeout_seconds: float = 30.0

    def recall(self, intent: bytes, settled: frozenset[bytes]) -> list[GivenSignature]:
        """Return what was signed for an intent, without what is known to be settled."""
        answer = self._port().ask(RECALL, as_parameter(self.address, intent, settled))
        return self._read(answer)

    def sign(self, payload: Payload) -> bytes:
        """Have a message signed, and check the signature; see `Signer`."""
        answer = self._port().ask(SIGN, of_payload(self.address, payload))
        if isinstance(answer, dict) and answer.get("unknown"):
            raise UnknownSignatures(self._read(answer["unknown"]))
        try:
            signature = from_base58(answer["signature"], SIGNATURE_BYTES)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._port().held("it gave no signature") from error
        account = Pubkey.from_bytes(self.address)
        if not Signature.from_bytes(signature).verify(account, payload.message):
            raise self._port().held("it signed something else, or with another key")
        return signature

    # Any: what the other process answers.
    def _read(self, answer: object) -> list[GivenSignature]:
        try:
            return read_given(answer)
        except SigningRefused as error:
            raise self._port().held("it does not tell what it signed") from error

    def _port(self) -> SigningPort:
        return SigningPort(self.name, self.url, self.timeout_seconds)
