"""The checks that Sign-In with Ethereum and Sign-In with Solana share: site and times.

Both standards leave to the server which domains it serves, and how old a message may
be.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from api.auth.options import CLOCKS_APART

MESSAGE_LENGTH = 4096
AGE = timedelta(minutes=5)
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"


class BadMessage(ValueError):
    """The message is invalid; the error names the field and the value expected."""


class Timed(Protocol):
    """A message with the times that it names."""

    @property
    def issued_at(self) -> datetime:
        """The time at which it was made."""

    @property
    def expiration_time(self) -> datetime | None:
        """The time from which on it is worth nothing."""

    @property
    def not_before(self) -> datetime | None:
        """The time before which it is worth nothing."""


def check_origin(
    origins: Sequence[str], *, domain: str, scheme: str | None, uri: str | None
) -> None:
    """Raise BadMessage unless domain and URI are on one of our sites, the same one."""
    for origin in origins:
        known, _, authority = origin.partition("://")
        if domain != authority or scheme not in (None, known):
            continue
        if uri is None or _origin_of(uri) == origin:
            return
        raise BadMessage(f"URI: it is not on {origin}.")
    raise BadMessage(f"Domain: use one of these: {', '.join(origins)}.")


def check_times(message: Timed, now: datetime) -> None:
    """Raise BadMessage unless the message was made of late, and holds now."""
    if message.issued_at > now + CLOCKS_APART:
        raise BadMessage("Issued At: it is in the future. Set the clock, sign again.")
    if now - message.issued_at > AGE:
        raise BadMessage("Issued At: it is older than five minutes. Sign a new one.")
    until = message.expiration_time
    if until is not None and until <= now - CLOCKS_APART:
        raise BadMessage("Expiration Time: it is over. Sign a new message.")
    if message.not_before is not None and message.not_before > now + CLOCKS_APART:
        raise BadMessage("Not Before: it has not come yet. Wait for it.")


def read_time(text: str) -> datetime:
    """Return the time that a line names; raises BadMessage when there is no such."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadMessage(f"{text} is no time. Write one that exists.") from None


def read_time_or_none(text: str | None) -> datetime | None:
    """Return the time of a line that may be absent."""
    return None if text is None else read_time(text)


def _origin_of(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:  # brackets that hold no address
        return ""
    return f"{parts.scheme}://{parts.netloc}"
