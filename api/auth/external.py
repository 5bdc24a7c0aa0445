"""Sign-in with a JWT of an identity provider that names a wallet.

Web3Auth's tokens are the model: `wallets` lists what the person controls, by address or
by public key. Which issuer, audience and keys are believed is set for each kind, and
whether its ed25519 keys are wallets of Solana (`solana_wallets`).
"""

from collections.abc import Mapping
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_utils.crypto import keccak
from flask import Response
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from msgspec import Meta
from solders.pubkey import Pubkey
from sqlalchemy import Connection

from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.jwks import Jwks, KeysAway
from api.auth.opening import (
    TOKENS,
    AttemptCounter,
    account_of_wallet,
    open_session,
    refuse_sign_in,
)
from api.auth.options import CLOCKS_APART, ExternalIssuer
from api.auth.routes import Body, add_route, read_body
from api.errors import Problem
from api.json_answers import json_answer
from db.accounts.accounts import (
    EVM,
    SOLANA,
    Account,
    WalletTaken,
    link_wallet,
    wallet_owner,
)
from idl.base58 import from_base58, to_base58

TOKEN_LENGTH = 8192
CLAIMS = ("iss", "aud", "exp", "iat", "wallets")
ADDRESS = "^(0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})$"

Named = tuple[str, bytes]  # a wallet's kind and address


class ExternalToken(Body, frozen=True):
    """A token, the provider's kind, and the wallet to use: `0x…`, or base58."""

    kind: Annotated[str, Meta(max_length=64)]
    token: Annotated[str, Meta(max_length=TOKEN_LENGTH)]
    address: Annotated[str, Meta(pattern=ADDRESS)]


BODIES = (ExternalToken,)


class BadToken(ValueError):
    """The token is invalid; the message names the reason and nothing from the token."""


def add_external(blueprint: Blueprint, context: AuthContext) -> None:
    """`token/external`."""
    issuers = {
        each.name: (each, Jwks(each.jwks_url)) for each in context.options.external
    }

    def external_sign_in() -> Response:
        """Sign in with a token of an identity provider that the settings trust.

        Where they trust it with wallets of Solana, the one ed25519 key that a token
        names is linked to the account too, unless somebody has it.
        """
        return json_answer(_sign_in(context, issuers, read_body(ExternalToken)))

    add_route(
        blueprint, "/token/external", external_sign_in,
        summary="Sign in by another service", body=ExternalToken, returns=TOKENS,
    )  # fmt: skip


def read_token(token: str, issuer: ExternalIssuer, keys: Jwks) -> Mapping[str, Any]:
    """The claims of a token; raises BadToken, or KeysAway."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = keys.key(kid) if isinstance(kid, str) else None
        if key is None:
            raise BadToken("its key is not the issuer's")
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=CLOCKS_APART,
            options={"require": list(CLAIMS)},
        )
    except (jwt.PyJWTError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    return claims


def wallets_in(claims: Mapping[str, Any], *, solana: bool) -> frozenset[Named]:
    """Return the wallets in a token's claims; of Solana only where that is said."""
    listed = claims["wallets"]
    found = (_wallet(each) for each in listed) if isinstance(listed, list) else ()
    return frozenset(each for each in found if each and (solana or each[0] != SOLANA))


def _sign_in(
    context: AuthContext,
    issuers: Mapping[str, tuple[ExternalIssuer, Jwks]],
    body: ExternalToken,
) -> dict[str, object]:
    if body.kind not in issuers:
        known = ", ".join(sorted(issuers)) or "none"
        raise Problem("bad_body", f"Tokens of this kind are not known; known: {known}.")
    counted = AttemptCounter(context)
    method = f"external:{body.kind}"
    issuer, keys = issuers[body.kind]
    kind, wallet = _asked(body.address)
    try:
        claims = read_token(body.token, issuer, keys)
    except BadToken as error:
        refuse_sign_in(
            context, method,
            "The token is not accepted: it is not of this issuer for this API, or it "
            "has expired. Sign in there again.", reason=str(error),
        )  # fmt: skip
    except KeysAway:
        raise Problem(
            "issuer_unavailable", "The issuer's keys cannot be had now. Try again soon."
        ) from None
    named = wallets_in(claims, solana=issuer.solana_wallets)
    if (kind, wallet) not in named:
        refuse_sign_in(
            context, method, "The token is not for this wallet. Send one of those "
            "in its `wallets`.", reason="other wallet",
        )  # fmt: skip
    with context.begin() as connection:
        counted.succeeded(connection)
        found = account_of_wallet(context, connection, wallet, kind=kind)
        opened = open_session(context, connection, found, method)
        _bind_key(context, connection, found, named)
        return opened


def _bind_key(
    context: AuthContext,
    connection: Connection,
    account: Account,
    named: frozenset[Named],
) -> None:
    """Link the key of Solana that a token names, if it is one and nobody has it."""
    keys = [address for kind, address in named if kind == SOLANA]
    if len(keys) != 1 or wallet_owner(connection, keys[0], kind=SOLANA) == account.id:
        return
    text = to_base58(keys[0])
    try:
        link_wallet(connection, account.id, keys[0], kind=SOLANA, now=context.now())
    except WalletTaken:
        audit("wallet_not_linked", account=account.id, wallet=text, reason="taken")
    else:
        audit("wallet_linked", account=account.id, wallet=text)


def _asked(address: str) -> Named:
    """The wallet that a body names; raises the Problem `bad_body`."""
    if address.startswith("0x"):
        return EVM, bytes.fromhex(address[2:])
    try:
        return SOLANA, from_base58(address, Pubkey.LENGTH)
    except ValueError as error:
        raise Problem("bad_body", f"address: {error}.") from None


def _wallet(entry: Any) -> Named | None:
    """The wallet of an entry of `wallets`; None when it is none that we know."""
    if not isinstance(entry, dict):
        return None
    try:
        if isinstance(text := entry.get("address"), str):
            if entry.get("type") == "solana":
                return SOLANA, _on_curve(from_base58(text, Pubkey.LENGTH))
            address = bytes.fromhex(text.removeprefix("0x"))
            return (EVM, address) if len(address) == 20 else None
        text, curve = entry.get("public_key"), entry.get("curve")
        if not isinstance(text, str) or curve not in ("secp256k1", "ed25519"):
            return None
        key = bytes.fromhex(text.removeprefix("0x"))
        if curve == "ed25519":
            return SOLANA, _on_curve(key)
        return EVM, _address_of(key)
    except ValueError:
        return None


def _on_curve(key: bytes) -> bytes:
    """The key; raises ValueError when it is no point of ed25519's curve."""
    if len(key) != Pubkey.LENGTH or not Pubkey.from_bytes(key).is_on_curve():
        raise ValueError("it is no key of ed25519")
    return key


def _address_of(public_key: bytes) -> bytes:
    """The address of a key; raises ValueError when it is no point of the curve."""
    if len(public_key) == 64:  # some write it without the byte that says so
        public_key = b"\4" + public_key
    key = EllipticCurvePublicKey.from_encoded_point(SECP256K1(), public_key)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return keccak(point[1:])[-20:]
