"""The public keys of an issuer, fetched when needed and never more often than that.

A token with a key id that we do not know may be forged, so it must not make us ask each
time; the issuer may have a new key, so it must make us ask now and then.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import orjson
from jwt import PyJWK, PyJWTError

FLOOR_SECONDS = 60.0  # between two questions, whatever comes
KEPT_SECONDS = 3600.0
TIMEOUT_SECONDS = 3.0
SIZE_MAX = 1 << 18
LOOPBACK = ("127.0.0.1", "::1", "localhost")

log = logging.getLogger(__name__)


class KeysAway(Exception):
    """The issuer's keys are unavailable; retry later."""


class Jwks:
    """The keys behind one URL."""

    def __init__(
        self, url: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise ValueError(
                f"{url}: keys that anyone on the way can change: use https"
            )
        self._url = url
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._asked_at: float | None = None
        self._fetched_at: float | None = None

    def key(self, kid: str) -> PyJWK | None:
        """The key with an id, None when the issuer has no such key.

        Raises KeysAway when it is not known whether it has.
        """
        with self._lock:
            if not self._fresh(kid) and self._may_ask():
                self._ask()
            if self._fetched_at is None:
                raise KeysAway(f"the keys of {self._url} cannot be had; try again soon")
            return self._keys.get(kid)

    def _fresh(self, kid: str) -> bool:
        at = self._fetched_at
        return (
            kid in self._keys
            and at is not None
            and self._monotonic() - at < KEPT_SECONDS
        )

    def _may_ask(self) -> bool:
        at = self._asked_at
        return at is None or self._monotonic() - at >= FLOOR_SECONDS

    def _ask(self) -> None:
        """Fetch the keys; on failure keep the ones fetched before."""
        self._asked_at = self._monotonic()
        try:
            self._keys = _read_keys(_fetch(self._url))
        except (OSError, ValueError, PyJWTError) as error:
            log.warning("jwks_not_fetched url=%s cause=%s", self._url, _gist(error))
            return
        self._fetched_at = self._monotonic()


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Refuse redirects: keys come only from the configured address."""


def _fetch(url: str) -> bytes:
    opener = build_opener(_NoRedirect)
    asked = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked
    with opener.open(asked, timeout=TIMEOUT_SECONDS) as answer:
        content: bytes = answer.read(SIZE_MAX + 1)
    if len(content) > SIZE_MAX:
        raise ValueError("the answer is too large to be a set of keys")
    return content


def _read_keys(content: bytes) -> dict[str, PyJWK]:
    document = orjson.loads(content)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the answer is no set of keys")
    found = {}
    for each in listed:
        # Keys for other uses, or of kinds that we do not know, are none of ours.
        if isinstance(each, dict) and isinstance(each.get("kid"), str):
            try:
                found[each["kid"]] = PyJWK.from_dict(each)
            except PyJWTError:
                continue
    return found


def _gist(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    return type(reason if isinstance(reason, Exception) else error).__name__
