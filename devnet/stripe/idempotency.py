"""Idempotency keys as Stripe has them: the first answer again, or a refusal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from devnet.stripe.book import DAY
from devnet.stripe.errors import ApiError

KEPT_SECONDS = DAY  # Stripe may forget a key after so long


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given for a key."""

    digest: str
    at: int
    status: int
    content: bytes


class Keys:
    """The answers by key.

    An error is kept too, but for refusals of the parameters: nothing was begun then.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def find(self, key: str, path: str, body: str, now: int) -> Kept | None:
        """Return the answer of a key; raises ApiError for another request's key."""
        kept = self._kept.get(key)
        if kept is None or now - kept.at >= KEPT_SECONDS:
            return None
        if kept.digest != _digest(path, body):
            raise ApiError(
                400,
                "Keys for idempotent requests can only be used with the same "
                "parameters they were first used with. Try using a key other than "
                f"'{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        return kept

    def keep(
        self, key: str, path: str, body: str, now: int, status: int, content: bytes
    ) -> None:
        """Keep an answer for a key."""
        self._kept[key] = Kept(_digest(path, body), now, status, content)


def _digest(path: str, body: str) -> str:
    return hashlib.sha256(f"{path}\n{body}".encode()).hexdigest()
