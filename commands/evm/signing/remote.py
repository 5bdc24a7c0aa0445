"""A signer in another process: `chainfold sign serve`, or a web3signer, over HTTP.

What it gives back is read before it is trusted: it must be exactly the transaction that
was asked for, signed by the account that was expected.
"""

from dataclasses import dataclass

from commands.errors import BadTransaction
from commands.evm.raw import read_raw
from commands.evm.signers import Payload, SignedBytes
from commands.evm.signing.wire import as_parameters
from commands.signing.client import SigningPort


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """A key that is elsewhere; `url` is `unix:/path` or an HTTP endpoint."""

    name: str
    address: bytes
    url: str
    timeout_seconds: float = 30.0

    def permits(self, payload: Payload) -> None:
        """Ask whether it would sign; without that method nothing is asked."""
        self._port().ask("chainfold_permits", as_parameters(payload, self.address))

    def floor(self) -> int:
        """The nonce after the last that it remembers to have signed; 0: none."""
        asked = {"from": "0x" + self.address.hex()}
        return int(self._port().ask("chainfold_floor", asked) or 0)

    def sign(self, payload: Payload) -> SignedBytes:
        """Have a payload signed, and check the signature."""
        answer = self._port().ask(
            "eth_signTransaction", as_parameters(payload, self.address)
        )
        if isinstance(answer, dict):  # as go-ethereum answers
            answer = answer.get("raw")
        try:
            raw = bytes.fromhex(str(answer).removeprefix("0x"))
            found = read_raw(raw)
        except (ValueError, BadTransaction) as error:
            raise self._port().held(
                f"it gave no signed transaction: {error}"
            ) from error
        if found.sender != self.address:
            raise self._port().held(f"it signed as 0x{found.sender.hex()}")
        asked = (
            payload.chain_id, payload.nonce, payload.gas, payload.to, payload.value,
            payload.data, payload.gas_price, payload.priority_fee,
        )  # fmt: skip
        given = (
            found.chain_id, found.nonce, found.gas, found.to, found.value, found.data,
            found.gas_price, found.priority_fee,
        )  # fmt: skip
        if asked != given:
            raise self._port().held(
                "it signed another transaction than it was asked to"
            )
        return SignedBytes(raw, found.hash)

    def _port(self) -> SigningPort:
        return SigningPort(self.name, self.url, self.timeout_seconds)
