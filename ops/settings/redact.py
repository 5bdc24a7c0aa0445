"""Hide secrets in URLs: passwords, and keys in paths and queries."""

from __future__ import annotations

import re

HIDDEN = "***"

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_USER = re.compile(r"(://)([^/?#]*)@")  # greedy: a password may hold an @
_QUERY = re.compile(r"([?&][^=&#\s]+=)[^&#\s]*")
# Providers put the key in the path: …/v3/<32 hex>. Words and versions are shorter.
_KEY_SEGMENT = re.compile(r"(?<=/)(?=[^/?#]*\d)[A-Za-z0-9_-]{20,}(?=$|[/?#])")
_PRIVATE_KEY = re.compile(
    r"((?:private_?key|secret|password|passwd|api_?key|token)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"',}]+",
    re.IGNORECASE,
)


def redact_url(url: str) -> str:
    """Return a URL without its password, query values and path keys."""
    url = _USER.sub(_hide_password, url, count=1)
    return _QUERY.sub(rf"\g<1>{HIDDEN}", _KEY_SEGMENT.sub(HIDDEN, url))


def redact(text: str) -> str:
    """Return free text with its URLs and `password=…` pairs made harmless."""
    text = _URL.sub(lambda match: redact_url(match.group()), text)
    return _PRIVATE_KEY.sub(rf"\g<1>{HIDDEN}", text)


def _hide_password(match: re.Match[str]) -> str:
    user, colon, _ = match.group(2).partition(":")
    return (
        f"{match.group(1)}{user if colon else HIDDEN}{colon}{HIDDEN if colon else ''}@"
    )
