"""Random secrets, and the digests stored for them.

    cfk_3f9a1c0b_<43 characters>    an API key; the middle part is its prefix
    cfr_<43 characters>             a refresh token
    cfc_<43 characters>             what the console's cookie holds

Each holds 256 random bits, so SHA-256 is enough: there is nothing to guess from. The
first letters let scanners of leaked secrets recognise them.
"""

import base64
import hashlib
import hmac
import re
import secrets

_KEY = re.compile(r"cfk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_COOKIE = re.compile(r"cfc_[A-Za-z0-9_-]{43}")
_REFRESH = re.compile(r"cfr_[A-Za-z0-9_-]{43}")


def new_api_key() -> tuple[str, str]:
    """A key, and the prefix that it is known by."""
    prefix = secrets.token_hex(4)
    return f"cfk_{prefix}_{secrets.token_urlsafe(32)}", prefix


def is_api_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return _KEY.fullmatch(text) is not None


def new_refresh_token() -> str:
    """The first refresh token of a session."""
    return f"cfr_{secrets.token_urlsafe(32)}"


def new_cookie() -> str:
    """Return the value of a new console cookie; it is no refresh token."""
    return f"cfc_{secrets.token_urlsafe(32)}"


def is_cookie(text: str) -> bool:
    """Whether a text has the form of what the console's cookie holds."""
    return _COOKIE.fullmatch(text) is not None


def form_token(cookie: str, secret: bytes) -> str:
    """Return the anti-forgery token of the forms that belong to a cookie."""
    key = hashlib.sha256(b"chainfold console form\0" + secret).digest()
    return hmac.new(key, cookie.encode(), hashlib.sha256).hexdigest()


def is_refresh_token(text: str) -> bool:
    """Whether a text has the form of a refresh token."""
    return _REFRESH.fullmatch(text) is not None


def next_refresh_token(token: str, secret: bytes) -> str:
    """The successor of a refresh token: always the same, and ours alone to derive."""
    key = hashlib.sha256(b"chainfold refresh token\0" + secret).digest()
    made = hmac.new(key, token.encode(), hashlib.sha256).digest()
    return "cfr_" + base64.urlsafe_b64encode(made).decode().rstrip("=")


def digest(secret: str) -> bytes:
    """Return the digest of a secret, which is all that is stored of it."""
    return hashlib.sha256(secret.encode()).digest()
