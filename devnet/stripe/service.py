"""Requests to fakestripe and their answers, without a network."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from devnet.stripe.book import Book
from devnet.stripe.errors import ApiError
from devnet.stripe.faults import CutError, Fault, Faults
from devnet.stripe.forms import decode_form
from devnet.stripe.idempotency import Keys
from devnet.stripe.routes import Routes

KEY = "sk_test_fakestripe"  # known to everyone: it opens fakestripe alone


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API; `after_seconds` is how long it takes."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    after_seconds: float = 0.0


class Service:
    """An account behind its faults; one request is answered at a time."""

    def __init__(self, book: Book, faults: Faults, key: str = KEY) -> None:
        self.book, self.faults, self.key = book, faults, key
        self.url = ""
        self.routes = Routes(book, lambda: self.url)
        self.lock = threading.RLock()
        self.asked: list[tuple[str, str]] = []  # method and path of every request
        self._keys = Keys()
        book.late_by = faults.event_delay

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: str
    ) -> Answer:
        """Answer a request; raises CutError where the connection ends instead.

        The names of ``headers`` are in lower case.
        """
        path, _, query = target.partition("?")
        with self.lock:
            self.asked.append((method, path))
            fault = self.faults.of_request(method, path)
            if fault is Fault.CUT_BEFORE:
                raise CutError
            if fault is Fault.RATE_LIMITED:
                return self._limited()
            if fault is Fault.UNAVAILABLE:
                return _failure(ApiError(503, "Try again.", kind="api_error"))
            broken = fault is Fault.SERVER_ERROR
            found = self._answer(method, path, query, headers, body, broken=broken)
            if fault is Fault.CUT_AFTER:
                raise CutError
            if fault is Fault.SLOW:
                seconds = self.faults.slow_seconds
                return Answer(found.status, found.content, found.headers, seconds)
            return found

    def _answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str],
        body: str, *, broken: bool,
    ) -> Answer:  # fmt: skip
        if not hmac.compare_digest(
            headers.get("authorization", ""), f"Bearer {self.key}"
        ):
            return _failure(ApiError(401, "Invalid API Key provided"))
        key = headers.get("idempotency-key") if method == "POST" else None
        request, now = self.book.new_id("request"), self.book.clock.now()
        try:
            kept = None if key is None else self._keys.find(key, path, body, now)
            if kept is not None:
                replayed = {"Idempotent-Replayed": "true", "Request-Id": request}
                return Answer(kept.status, kept.content, replayed)
            self.book.request = (request, key)
            form = decode_form(query if method == "GET" else body)
            content = orjson.dumps(self.routes.answer(method, path, form))
            status = 200
            if broken:
                failed = _failure(ApiError(500, "An error occurred.", kind="api_error"))
                status, content = failed.status, failed.content
            if key is not None:
                self._keys.keep(key, path, body, now, status, content)
            return Answer(status, content, {"Request-Id": request})
        except ApiError as error:
            return _failure(error, request)
        finally:
            self.book.request = (None, None)

    def _limited(self) -> Answer:
        error = ApiError(429, "Too many requests.", code="rate_limit")
        found = _failure(error)
        seconds = str(self.faults.retry_after)
        return Answer(found.status, found.content, {"Retry-After": seconds})


def _failure(error: ApiError, request: str = "req_none") -> Answer:
    content = orjson.dumps({"error": error.content})
    return Answer(error.status, content, {"Request-Id": request})
