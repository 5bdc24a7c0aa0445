"""Routes of wallets: signing in with one, linking one, and letting one go."""

import secrets
from datetime import timedelta
from typing import Literal

from flask import Response
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.opening import (
    TOKENS,
    AttemptCounter,
    account_of_wallet,
    open_session,
)
from api.auth.principal import require_session
from api.auth.routes import (
    IN_SESSION,
    SIGNED_IN,
    add_route,
    read_body,
    shape,
    text_parameter,
)
from api.auth.signing import METHODS, SignedMessage, signer
from api.errors import Problem
from api.json_answers import MOMENT, json_answer, moment
from db.accounts import accounts
from db.accounts.accounts import EVM, SOLANA
from db.accounts.nonces import add_nonce
from db.commands.spelling import address_text

NONCE_LIFETIME = timedelta(minutes=5)


class WalletToLink(SignedMessage, frozen=True):
    """A message that a wallet signed, and the kind of the wallet."""

    kind: Literal["evm", "solana"] = "evm"


BODIES = (SignedMessage, WalletToLink)
NONCE = shape(nonce="string", expires_at=MOMENT)
WALLETS = shape(
    data={
        "type": "array",
        "items": shape(kind="string", address="string", linked_at=MOMENT),
    }
)


def add_wallets(blueprint: Blueprint, context: AuthContext) -> None:
    """`siwe/nonce`, `siwe`, `siws/nonce`, `siws`, `wallets`."""
    _add_signing(blueprint, context)

    def list_wallets() -> Response:
        """Lists the wallets of the account."""
        return json_answer(_list(context))

    def link_wallet() -> Response:
        """Links the wallet that signed the message to the account."""
        context.principal()
        return json_answer(_link(context, read_body(WalletToLink)), 201)

    def unlink_wallet(address: str) -> Response:
        """Lets a wallet go, unless nothing else opens the account."""
        _unlink(context, address)
        return json_answer(None, 204)

    add_route(
        blueprint, "/wallets", list_wallets, method="GET", summary="My wallets",
        returns=WALLETS, security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "/wallets", link_wallet, summary="Link a wallet",
        body=WalletToLink, returns=WALLETS, status=201, security=IN_SESSION,
    )  # fmt: skip
    add_route(
        blueprint, "/wallets/<address>", unlink_wallet, method="DELETE",
        summary="Let a wallet go", status=204, security=IN_SESSION,
        path=[
            text_parameter("address", "0x and 40 hex digits, or 32 bytes in base58.")
        ],
    )  # fmt: skip


def _add_signing(blueprint: Blueprint, context: AuthContext) -> None:
    def siwe_nonce() -> Response:
        """Gives out a nonce for one message, good for five minutes.

        Asked for by somebody signed in, it is for linking a wallet to their account.
        """
        return json_answer(_nonce(context), 201)

    def siwe_sign_in() -> Response:
        """Signs in with a wallet. A wallet that is not known begins an account."""
        return json_answer(_sign_in(context, EVM))

    def siws_nonce() -> Response:
        """Gives out a nonce for one message, good for five minutes.

        Asked for by somebody signed in, it is for linking a wallet to their account.
        """
        return json_answer(_nonce(context), 201)

    def siws_sign_in() -> Response:
        """Signs in with a wallet of Solana, by a message of `solana:signIn`.

        The message must name a nonce and the time of issue. A wallet that is not known
        begins an account.
        """
        return json_answer(_sign_in(context, SOLANA))

    for path, nonce, sign_in, of in (
        ("/siwe", siwe_nonce, siwe_sign_in, "a wallet"),
        ("/siws", siws_nonce, siws_sign_in, "a wallet of Solana"),
    ):
        add_route(
            blueprint, f"{path}/nonce", nonce, summary=f"A nonce for {of}",
            returns=NONCE, status=201, security=[{}, *IN_SESSION],
        )  # fmt: skip
        add_route(
            blueprint, path, sign_in, summary=f"Sign in with {of}",
            body=SignedMessage, returns=TOKENS,
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
    return {"nonce": nonce, "expires_at": moment(until)}


def _sign_in(context: AuthContext, kind: str) -> dict[str, object]:
    body, counted = read_body(SignedMessage), AttemptCounter(context)
    wallet = signer(context, body.message, body.signature, kind=kind, account=None)
    with context.begin() as connection:
        counted.succeeded(connection)
        found = account_of_wallet(context, connection, wallet, kind=kind)
        return open_session(context, connection, found, METHODS[kind])


def _link(context: AuthContext, body: WalletToLink) -> dict[str, object]:
    principal = context.principal()
    require_session(principal)
    assert principal.account is not None
    counted = AttemptCounter(context)
    wallet = signer(
        context, body.message, body.signature,
        kind=body.kind, account=principal.account,
    )  # fmt: skip
    with context.begin() as connection:
        counted.succeeded(connection)
        try:
            accounts.link_wallet(
                connection, principal.account, wallet,
                kind=body.kind, now=context.now(),
            )  # fmt: skip
        except accounts.WalletTaken as error:
            raise Problem("wallet_taken", f"Not linked: {error}") from None
    audit("wallet_linked", principal=principal, wallet=address_text(wallet))
    return _list(context)


def _list(context: AuthContext) -> dict[str, object]:
    principal = context.principal()
    assert principal.account is not None
    with context.begin() as connection:
        found = accounts.wallets_of(connection, principal.account)
    return {
        "data": [
            {
                "kind": wallet.kind,
                "address": address_text(wallet.address),
                "linked_at": moment(wallet.linked_at),
            }
            for wallet in found
        ]
    }


def _unlink(context: AuthContext, address: str) -> None:
    principal = context.principal()
    require_session(principal)
    assert principal.account is not None
    if address[:2] == "0x":
        address = address.lower()
    with context.begin() as connection:
        found = accounts.find_account(connection, principal.account)
        assert found is not None
        owned = {
            address_text(each.address): each
            for each in accounts.wallets_of(connection, found.id)
        }
        wallet = owned.get(address)
        if wallet is None:
            raise Problem(
                "no_such_row", "The account has no such wallet. Look at its wallets."
            )
        if found.password_hash is None and len(owned) == 1:
            raise Problem(
                "not_allowed",
                "This wallet is all that opens the account. Link another one first.",
            )
        accounts.unlink_wallet(connection, found.id, wallet.address, kind=wallet.kind)
    audit("wallet_unlinked", principal=principal, wallet=address)
