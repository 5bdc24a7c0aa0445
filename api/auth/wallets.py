"""Routes of wallets: signing in with one, linking one, and letting one go."""

import secrets
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from msgspec import Meta

from api.auth import siwe
from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.opening import (
    TOKENS,
    AttemptCounter,
    account_of_wallet,
    open_session,
    refuse_sign_in,
)
from api.auth.principal import require_session
from api.auth.routes import (
    IN_SESSION,
    SIGNED_IN,
    Body,
    add_route,
    read_body,
    shape,
    text_parameter,
)
from api.errors import Problem
from api.json_answers import json_answer
from commands.errors import NodeAway
from db.accounts import accounts
from db.accounts.nonces import add_nonce, use_nonce

EVM = "evm"
NONCE_LIFETIME = timedelta(minutes=5)
SIGNATURE_LENGTH = 2 + 2 * 4096  # a contract's signature may be longer than a key's


class SignedMessage(Body, frozen=True):
    """A message as EIP-4361 has it, and the wallet's signature of its exact bytes."""

    message: Annotated[str, Meta(max_length=siwe.MESSAGE_LENGTH)]
    signature: Annotated[str, Meta(max_length=SIGNATURE_LENGTH)]


BODIES = (SignedMessage,)
NONCE = shape(nonce="string", expires_at="integer")
WALLETS = shape(
    data={
        "type": "array",
        "items": shape(kind="string", address="string", linked_at="integer"),
    }
)


def add_wallets(blueprint: Blueprint, context: AuthContext) -> None:
    """`siwe/nonce`, `siwe`, `wallets`."""

    def siwe_nonce() -> Response:
        """Gives out a nonce for one message, good for five minutes.

        Asked for by somebody signed in, it is for linking a wallet to their account.
        """
        return json_answer(_nonce(context), 201)

    def siwe_sign_in() -> Response:
        """Signs in with a wallet. A wallet that is not known begins an account."""
        return json_answer(_sign_in(context, read_body(SignedMessage)))

    def list_wallets() -> Response:
        """Lists the wallets of the account."""
        return json_answer(_list(context))

    def link_wallet() -> Response:
        """Links the wallet that signed the message to the account."""
        context.principal()
        return json_answer(_link(context, read_body(SignedMessage)), 201)

    def unlink_wallet(address: str) -> Response:
        """Lets a wallet go, unless nothing else opens the account."""
        _unlink(context, address)
        return json_answer(None, 204)

    add_route(
        blueprint, "/siwe/nonce", siwe_nonce, summary="A nonce to be signed",
        returns=NONCE, status=201, security=[{}, *IN_SESSION],
    )  # fmt: skip
    add_route(
        blueprint, "/siwe", siwe_sign_in, summary="Sign in with a wallet",
        body=SignedMessage, returns=TOKENS,
    )  # fmt: skip
    add_route(
        blueprint, "/wallets", list_wallets, method="GET", summary="My wallets",
        returns=WALLETS, security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "/wallets", link_wallet, summary="Link a wallet",
        body=SignedMessage, returns=WALLETS, status=201, security=IN_SESSION,
    )  # fmt: skip
    add_route(
        blueprint, "/wallets/<address>", unlink_wallet, method="DELETE",
        summary="Let a wallet go", status=204, security=IN_SESSION,
        path=[text_parameter("address", "0x and 40 hex digits.")],
    )  # fmt: skip


def _nonce(context: AuthContext) -> dict[str, object]:
    principal = context.guest_or_principal()
    if principal is not None:
        require_session(principal)
    nonce, now = secrets.token_hex(16), context.now()
    until = now + NONCE_LIFETIME
    with context.begin() as connection:
        add_nonce(
            connection, nonce,
            account_id=None if principal is None else principal.account,
            now=now, expires_at=until,
        )  # fmt: skip
    return {"nonce": nonce, "expires_at": int(until.timestamp())}


def _sign_in(context: AuthContext, body: SignedMessage) -> dict[str, object]:
    counted = AttemptCounter(context)
    wallet = _signer(context, body, account=None)
    with context.begin() as connection:
        counted.succeeded(connection)
        found = account_of_wallet(context, connection, wallet, kind=EVM)
        return open_session(context, connection, found, "siwe")


def _link(context: AuthContext, body: SignedMessage) -> dict[str, object]:
    principal = context.principal()
    require_session(principal)
    assert principal.account is not None
    counted = AttemptCounter(context)
    wallet = _signer(context, body, account=principal.account)
    with context.begin() as connection:
        counted.succeeded(connection)
        try:
            accounts.link_wallet(
                connection, principal.account, wallet, kind=EVM, now=context.now()
            )
        except accounts.WalletTaken as error:
            raise Problem("wallet_taken", f"Not linked: {error}") from None
    audit("wallet_linked", principal=principal, wallet=f"0x{wallet.hex()}")
    return _list(context)


def _signer(
    context: AuthContext, body: SignedMessage, *, account: UUID | None
) -> bytes:
    """The wallet that signed a message for us, now, for the first time."""
    try:
        message = siwe.read_message(body.message)
        siwe.check_message(message, context.options, context.now())
        signature = _signature(body.signature)
    except siwe.BadMessage as error:
        refuse_sign_in(context, "siwe", str(error), reason="bad message")
    # The nonce goes first, in a transaction of its own: whatever comes of the rest, the
    # same message is never looked at twice.
    with context.begin() as connection:
        fresh = use_nonce(
            connection, message.nonce, account_id=account, now=context.now()
        )
    if not fresh:
        refuse_sign_in(
            context, "siwe",
            "Nonce: it is used, expired or of another purpose. Ask for another with "
            "POST /api/v1/auth/siwe/nonce.", reason="bad nonce",
        )  # fmt: skip
    if not _signed(context, body.message, signature, message):
        refuse_sign_in(
            context, "siwe",
            "Signature: it is not the address's for these bytes. Sign the message "
            "exactly as it is sent.", reason="bad signature",
        )  # fmt: skip
    return message.wallet


def _signed(
    context: AuthContext, text: str, signature: bytes, message: siwe.Message
) -> bool:
    if siwe.signed_by(text, signature, message.wallet):
        return True
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


def _signature(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise siwe.BadMessage("Signature: write 0x and hex digits.") from None


def _list(context: AuthContext) -> dict[str, object]:
    principal = context.principal()
    assert principal.account is not None
    with context.begin() as connection:
        found = accounts.wallets_of(connection, principal.account)
    return {
        "data": [
            {
                "kind": wallet.kind,
                "address": f"0x{wallet.address.hex()}",
                "linked_at": int(wallet.linked_at.timestamp()),
            }
            for wallet in found
        ]
    }


def _unlink(context: AuthContext, address: str) -> None:
    principal = context.principal()
    require_session(principal)
    assert principal.account is not None
    try:
        wallet = bytes.fromhex(address.removeprefix("0x"))
    except ValueError:
        wallet = b""
    with context.begin() as connection:
        found = accounts.find_account(connection, principal.account)
        assert found is not None
        owned = [each.address for each in accounts.wallets_of(connection, found.id)]
        if wallet not in owned:
            raise Problem(
                "no_such_row", "The account has no such wallet. Look at its wallets."
            )
        if found.password_hash is None and len(owned) == 1:
            raise Problem(
                "not_allowed",
                "This wallet is all that opens the account. Link another one first.",
            )
        accounts.unlink_wallet(connection, found.id, wallet, kind=EVM)
    audit("wallet_unlinked", principal=principal, wallet=f"0x{wallet.hex()}")
