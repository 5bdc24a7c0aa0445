"""Access tokens: short-lived JWTs with the ids of an account and a session.

Roles are not in them. They are read at each request, so a role taken away, an account
disabled or a session ended is so from the next request on.
"""

import uuid

from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError

from api.auth.options import CLOCKS_APART, AuthOptions

ISSUER = "chainfold"
TOKEN_CHARACTERS_MAX = 2048  # ours have about 400
_SESSION = "sid"


def use_tokens(app: Flask, options: AuthOptions) -> None:
    """Have an app sign tokens with the secret."""
    app.config.update(
        JWT_SECRET_KEY=options.secret,
        JWT_ALGORITHM="HS256",
        JWT_DECODE_ALGORITHMS=["HS256"],
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_DECODE_ISSUER=ISSUER,
        JWT_ACCESS_TOKEN_EXPIRES=options.access_lifetime,
        JWT_TOKEN_LOCATION=["headers"],
        JWT_COOKIE_CSRF_PROTECT=False,
        JWT_DECODE_LEEWAY=CLOCKS_APART,
    )
    JWTManager(app)


def new_access_token(account: uuid.UUID, session: uuid.UUID) -> str:
    """A token for an account's session."""
    claims = {_SESSION: str(session)}
    token: str = create_access_token(str(account), additional_claims=claims)
    return token


def read_access_token(text: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The account and session that a token is for; None when it is of no use."""
    if len(text) > TOKEN_CHARACTERS_MAX:
        return None
    try:
        claims = decode_token(text)
        if claims["type"] != "access":
            return None
        return uuid.UUID(str(claims["sub"])), uuid.UUID(str(claims[_SESSION]))
    except (PyJWTError, JWTExtendedException, KeyError, ValueError, RecursionError):
        return None
