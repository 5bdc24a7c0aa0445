"""Sign-in with a JWT of an identity provider that names a wallet.

Web3Auth's tokens are the model: `wallets` lists what the person controls, by address or
by public key. Which issuer, audience and keys are believed is set for each kind.
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
from db.accounts.accounts import EVM

TOKEN_LENGTH = 8192
CLAIMS = ("iss", "aud", "exp", "iat", "wallets")


class ExternalToken(Body, frozen=True):
    """A token, the provider's kind, and the wallet to use."""

    kind: Annotated[str, Meta(max_length=64)]
    token: Annotated[str, Meta(max_length=TOKEN_LENGTH)]
    address: Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{40}$")]


BODIES = (ExternalToken,)


class BadToken(ValueError):
    """The token is invalid; the message names the reason and nothing from the token."""


def add_external(blueprint: Blueprint, context: AuthContext) -> None:
    """`token/external`."""
    issuers = {
        each.name: (each, Jwks(each.jwks_url)) for each in context.options.external
    }

    def external_sign_in() -> Response:
        """Sign in with a token of an identity provider that the settings trust."""
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


def wallets_in(claims: Mapping[str, Any]) -> frozenset[bytes]:
    """Return the wallet addresses in a token's claims."""
    listed = claims["wallets"]
    found = (_address(each) for each in listed) if isinstance(listed, list) else ()
    return frozenset(address for address in found if address is not None)


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
    wallet = bytes.fromhex(body.address[2:])
    try:
        claims = read_token(body.token, *issuers[body.kind])
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
    if wallet not in wallets_in(claims):
        refuse_sign_in(
            context, method, "The token is not for this wallet. Send one of those "
            "in its `wallets`.", reason="other wallet",
        )  # fmt: skip
    with context.begin() as connection:
        counted.succeeded(connection)
        found = account_of_wallet(context, connection, wallet, kind=EVM)
        return open_session(context, connection, found, method)


def _address(entry: Any) -> bytes | None:
    """The address of an entry of `wallets`; None when it is not one of Ethereum's."""
    if not isinstance(entry, dict):
        return None
    try:
        if isinstance(text := entry.get("address"), str):
            address = bytes.fromhex(text.removeprefix("0x"))
            return address if len(address) == 20 else None
        text = entry.get("public_key")
        if isinstance(text, str) and entry.get("curve") == "secp256k1":
            return _address_of(bytes.fromhex(text.removeprefix("0x")))
    except ValueError:
        return None
    return None


def _address_of(public_key: bytes) -> bytes:
    """The address of a key; raises ValueError when it is no point of the curve."""
    if len(public_key) == 64:  # some write it without the byte that says so
        public_key = b"\4" + public_key
    key = EllipticCurvePublicKey.from_encoded_point(SECP256K1(), public_key)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return keccak(point[1:])[-20:]
