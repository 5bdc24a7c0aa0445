"""One endpoint: its connection, what it may be asked, and its health.

The URL may hold a password or a key, so it never leaves this module: errors, logs and
stored limits carry `label`, the host alone.
"""

import asyncio
import enum
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import msgspec

from db.urls import hide, secrets_of
from indexer.errors import Permanent, Retryable
from indexer.rpc.concurrency import Concurrency
from indexer.rpc.limits import EndpointLimits, LimitsStore, RateControl, lowered

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 2.0  # for a block that must come soon
LONGEST_WISH_SECONDS = 600.0  # of a Retry-After
MAX_ANSWER_BYTES = 128 << 20


class Health(enum.Enum):
    """The health of an endpoint; the value is its name in metrics."""

    OK = "ok"
    DOWN = "down"
    WRONG_CHAIN = "wrong_chain"
    LIMITED = "limited"
    LAGGING = "lagging"


class Unreachable(Retryable):
    """No answer, or one that is not JSON-RPC."""


class TimedOut(Unreachable):
    """No answer within the time given for one."""


class Denied(Unreachable):
    """The endpoint does not let us ask: its key is missing, wrong, or has no right."""


class Limited(Retryable):
    """Asked too often; `pause_seconds` is what the endpoint asks for, if it does."""

    def __init__(self, message: str, pause_seconds: float | None = None) -> None:
        super().__init__(message)
        self.pause_seconds = pause_seconds


class AnswerTooLarge(Retryable):
    """The request or the answer is more than the endpoint, or we, can carry."""


class Endpoint:
    """One node or provider, asked over HTTP."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        max_inflight: int,
        requests_per_second: float | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Permanent("an endpoint is not a URL: write http(s)://host[:port]/…")
        self._url = url
        self._secrets = secrets_of(url)
        self._clock = clock
        self._random = random
        port = f":{parts.port}" if parts.port else ""
        self.label = f"{parts.hostname}{port}"
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        self.key = f"{self.label}/{digest}"  # names it in the limits store
        self.health = Health.OK
        self.reason = ""
        self.chain_id: int | str | None = None
        self.head: int | None = None  # the highest block it has shown us
        self.log_index: str | None = None  # how it counts logs, until it fails
        self.limits = EndpointLimits()
        self.limits_dirty = False
        self.rate = RateControl(clock, requests_per_second)
        self.inflight = Concurrency(max_inflight)
        self.verifying = asyncio.Lock()
        self.parked_until = 0.0
        self.failures = 0  # in a row
        self.generation = 0  # grows with each failure
        self.requests = 0
        self.refused = 0  # refusals that taught a limit
        self.probing = asyncio.Lock()  # held while asking for more than ever before
        self._taken_calls = 1
        self._taken_range = 1

    def __repr__(self) -> str:
        return f"Endpoint({self.label}, {self.health.value})"

    def hide(self, text: object) -> str:
        """The text without the secrets of the URL, cut to a line's length."""
        return hide(self._secrets, text)

    def succeeded(self) -> None:
        """Record a good answer."""
        self.failures = 0
        self.health, self.reason = Health.OK, ""
        self.parked_until = 0.0
        self.rate.succeeded()

    def failed(
        self, health: Health, error: Retryable, *, generation: int | None = None
    ) -> None:
        """Pause the endpoint: with full jitter, or for as long as it asked.

        `generation` is that of the moment when the request left: requests that were
        under way when another one failed count as one failure with it.
        """
        self.health, self.reason = health, str(error)
        self.log_index = None  # it may come back as another version
        now = self._clock()
        pause = 0.0
        if generation is None or generation == self.generation:
            self.generation += 1
            self.failures += 1
            ceiling = FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 16)
            longest = LONGEST_PAUSE_SECONDS
            if health is Health.LAGGING:
                longest = LONGEST_WAIT_SECONDS
            pause = self._random() * min(ceiling, longest)
            if isinstance(error, Limited):
                self.rate.refused()
                self.inflight.refused()
        if isinstance(error, Limited) and error.pause_seconds is not None:
            pause = max(pause, min(error.pause_seconds, LONGEST_WISH_SECONDS))
        self.parked_until = max(self.parked_until, now + pause)

    def has_taken(self, calls: int, span: int) -> bool:
        """Whether it has answered a request of this size before."""
        return calls <= self._taken_calls and span <= self._taken_range

    def accepted(self, calls: int, span: int) -> None:
        """Record an answered request of this size."""
        self._taken_calls = max(self._taken_calls, calls)
        self._taken_range = max(self._taken_range, span)

    def learn_range(self, tried: int, named: int | None) -> None:
        """A range of `tried` blocks was refused."""
        limit = lowered(self.limits.max_range, tried, named)
        self._learn(replace(self.limits, max_range=limit))

    def learn_results(self, named: int | None) -> None:
        """Learn from an answer with too many logs; only a named limit is kept."""
        if named is not None:
            self._learn(replace(self.limits, max_results=named))

    def learn_terms(self, tried: int, named: int | None) -> None:
        """A question that names `tried` addresses or topics was refused."""
        limit = lowered(self.limits.max_terms, tried, named)
        self._learn(replace(self.limits, max_terms=limit))

    def learn_batch(self, tried: int, named: int | None) -> None:
        """A request of `tried` calls was refused."""
        limit = lowered(self.limits.max_batch, tried, named)
        self._learn(replace(self.limits, max_batch=limit))

    def _learn(self, limits: EndpointLimits) -> None:
        self.refused += 1
        if limits != self.limits:
            self.limits, self.limits_dirty = limits, True

    async def save_limits(self, store: LimitsStore) -> None:
        """Store limits that changed."""
        if self.limits_dirty:
            self.limits_dirty = False
            await store.save(self.key, self.limits)

    async def post(
        self, session: aiohttp.ClientSession, body: bytes, timeout_seconds: float
    ) -> bytes:
        """Send one request and return the whole answer, whatever is in it.

        Raises Limited on 429 and 503 with Retry-After, AnswerTooLarge on 413 or when
        the answer passes `MAX_ANSWER_BYTES`, and Unreachable for every other failure
        of the transport.
        """
        self.requests += 1
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with session.post(
                self._url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                answer = await _read(response)
                status = response.status
                retry_after = response.headers.get("Retry-After")
        except TimeoutError:
            raise TimedOut(
                f"{self.label} did not answer in {timeout_seconds:g} s: check the "
                "node, or raise request_timeout_seconds"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(
                f"{self.label}: {type(error).__name__}: {self.hide(error)}: check that "
                "the node is up and can be reached"
            ) from None
        return self._checked(status, retry_after, answer)

    def _words(self, answer: bytes) -> str:
        """Return the words of a refusal without the secrets of the URL."""
        return self.hide(_error_text(answer)) or "no reason given"

    def _checked(
        self, status: int, retry_after: str | None, answer: bytes | None
    ) -> bytes:
        if status == 429 or (status == 503 and retry_after is not None):
            raise Limited(
                f"{self.label} answered {status}: ask less often, or add an endpoint",
                _seconds(retry_after),
            )
        if answer is None or status == 413:
            raise AnswerTooLarge(
                f"{self.label}: too much in one request or answer: ask for less"
            )
        if status in (401, 403):
            raise Denied(
                f"{self.label} answered HTTP {status}: {self._words(answer)}: check "
                "the key in its URL, and what it may ask"
            )
        if status != 200 and answer[:1] not in (b"{", b"["):
            raise Unreachable(
                f"{self.label} answered HTTP {status}: check its URL and its key"
            )
        return answer


def _error_text(answer: bytes) -> str:
    """The node's words in the body of a refusal: its error's message, or its text."""
    try:
        decoded = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return answer[:500].decode(errors="replace")
    for name in ("error", "message"):
        if isinstance(decoded, dict) and decoded.get(name):
            decoded = decoded[name]
    return str(decoded)


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body; None in place of one that is too large to keep."""
    chunks = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its date form is treated as absent."""
    if retry_after is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,6}(\.\d+)?)\s*", retry_after)
    return float(match[1]) if match else None
