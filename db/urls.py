"""Hide the secrets of URLs: everything but the host."""

import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit


def secrets_of(url: str) -> list[str]:
    """Every part of a URL but its host, longest first, raw and unquoted."""
    parts = urlsplit(url)
    user = {parts.username or "", parts.password or ""}
    pieces = re.split(r"[/&=?]", f"{parts.path}&{parts.query}")
    found = {url, parts.path.strip("/"), parts.query, *pieces}
    if "@" in parts.netloc:
        found.add(parts.netloc)
    found |= {unquote(piece) for piece in found}
    user |= {unquote(piece) for piece in user}
    secrets = {s for s in found if len(s) >= 6} | {s for s in user if len(s) >= 3}
    return sorted(secrets, key=len, reverse=True)


def hide(secrets: Sequence[str], text: object, most: int = 300) -> str:
    """A text on one line without the secrets, cut to a length."""
    out = str(text)
    for secret in secrets:
        out = out.replace(secret, "…")
    return " ".join(out.split())[:most]
