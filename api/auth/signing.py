"""Find the wallet that signed a message for us, now, for the first time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from api.auth import siwe, siws
from api.auth.context import AuthContext
from api.auth.messages import MESSAGE_LENGTH, BadMessage
from api.auth.opening import refuse_sign_in
from api.auth.routes import Body
from api.errors import Problem
from commands.errors import NodeAway
from db.accounts.accounts import EVM, SOLANA
from db.accounts.nonces import use_nonce

SIGNATURE_LENGTH = 2 + 2 * 4096  # a contract's signature may be longer than a key's
METHODS = {EVM: "siwe", SOLANA: "siws"}  # a session's method, by the wallet's kind


class SignedMessage(Body, frozen=True):
    """A message that a wallet signed, and its signature of the exact bytes.

    From a wallet of Ethereum: EIP-4361, the signature in hex. From one of Solana:
    Sign-In with Solana, the signature in base58.
    """

    message: Annotated[str, Meta(max_length=MESSAGE_LENGTH)]
    signature: Annotated[str, Meta(max_length=SIGNATURE_LENGTH)]


@dataclass(frozen=True, slots=True)
class _Claim:
    """A message that is for us; `signed` tells whether the wallet signed it."""

    wallet: bytes
    nonce: str
    signed: Callable[[], bool]


def signer(
    context: AuthContext,
    message: str,
    signature: str,
    *,
    kind: str,
    account: UUID | None,
) -> bytes:
    """Return the wallet that signed a message; raises `bad_sign_in`.

    `account` is whoever must have asked for the nonce; None: nobody signed in.
    """
    method = METHODS[kind]
    try:
        claim = _CLAIMS[kind](context, message, signature)
    except BadMessage as error:
        refuse_sign_in(context, method, str(error), reason="bad message")
    # The nonce goes first, in a transaction of its own: whatever comes of the rest, the
    # same message is never looked at twice.
    with context.begin() as connection:
        fresh = use_nonce(
            connection, claim.nonce, account_id=account, now=context.now()
        )
    if not fresh:
        refuse_sign_in(
            context, method,
            "Nonce: it is used, expired or of another purpose. Ask for another with "
            f"POST /api/v1/auth/{method}/nonce.", reason="bad nonce",
        )  # fmt: skip
    if not claim.signed():
        refuse_sign_in(
            context, method,
            "Signature: it is not the address's for these bytes. Sign the message "
            "exactly as it is sent.", reason="bad signature",
        )  # fmt: skip
    return claim.wallet


def _claim_of_ethereum(context: AuthContext, text: str, given: str) -> _Claim:
    message = siwe.read_message(text)
    siwe.check_message(message, context.options, context.now())
    try:
        signature = bytes.fromhex(given.removeprefix("0x"))
    except ValueError:
        raise BadMessage("Signature: write 0x and hex digits.") from None

    def signed() -> bool:
        return siwe.signed_by(text, signature, message.wallet) or _accepted(
            context, text, signature, message
        )

    return _Claim(message.wallet, message.nonce, signed)


def _claim_of_solana(context: AuthContext, text: str, given: str) -> _Claim:
    message = siws.read_message(text)
    siws.check_message(message, context.options, context.now())
    signature = siws.read_signature(given)
    return _Claim(
        message.wallet,
        message.nonce,
        lambda: siws.signed_by(text, signature, message.wallet),
    )


_CLAIMS = {EVM: _claim_of_ethereum, SOLANA: _claim_of_solana}


def _accepted(
    context: AuthContext, text: str, signature: bytes, message: siwe.Message
) -> bool:
    """Whether the wallet is a contract that accepts the signature."""
    call = context.options.contract_call
    if call is None:
        return False
    try:
        return siwe.accepted_by_contract(
            text, signature, message.wallet, chain_id=message.chain_id, call=call
        )
    except NodeAway:
        raise Problem(
            "node_unavailable",
            "Whether the wallet is a contract that accepts the signature cannot be "
            "asked now. Sign a new message soon.",
        ) from None
