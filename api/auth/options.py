"""What an operator can choose about accounts and sign-in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

SECRET_BYTES = 32


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """How tokens are signed and how long they hold; every worker has the same."""

    secret: bytes = field(repr=False)
    registration: bool = True
    access_lifetime: timedelta = timedelta(minutes=15)
    refresh_lifetime: timedelta = timedelta(days=7)
    session_lifetime: timedelta = timedelta(days=30)
    clock: Callable[[], datetime] = utc_now

    def __post_init__(self) -> None:
        if len(self.secret) < SECRET_BYTES:
            raise ValueError(
                f"the secret has {len(self.secret)} bytes: give {SECRET_BYTES} or more"
            )
