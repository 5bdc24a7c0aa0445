"""JSON-RPC to several endpoints at once: batches, failover, limits, backoff.

The endpoints are asked in the order given: the first that is well takes everything, and
the next steps in while it is down, limited, or behind. Each is asked once for its chain
id before its first use; one on another chain is never used. A batch is answered whole
or not at all, and an answer that is cut, doubled, short or null is a failure of the
endpoint, never "nothing there".
"""

import asyncio
import contextlib
import logging
import random as _random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from indexer.errors import Permanent, Retryable
from indexer.rpc.answers import (
    BatchRefused,
    Missing,
    Reply,
    RpcCall,
    RpcError,
    TooLarge,
    encode_calls,
    read_results,
)
from indexer.rpc.endpoint import (
    AnswerTooLarge,
    Endpoint,
    Health,
    Limited,
    TimedOut,
    Unreachable,
)
from indexer.rpc.limits import EndpointLimits, LimitsStore, MemoryLimitsStore
from indexer.rpc.refusals import LASTING, Classify, ErrorKind, classify
from indexer.rpc.tasks import gather

DEFAULT_BATCH = 100
MAX_INFLIGHT = 32
ATTEMPTS = 8
RPC_ERROR_ATTEMPTS = 3
NOTE_SECONDS = 5.0  # between two lines about endpoints that take turns

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Counters of the client's requests."""

    requests: int = 0
    calls: int = 0
    received_bytes: int = 0
    failures: dict[str, int] = field(default_factory=dict)


class Client:
    """All endpoints of one chain; it belongs to the event loop that first uses it.

    `identity` is the question for the chain that an endpoint is on, and `read_identity`
    makes of its answer what is compared with `chain_id`.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        chain_id: int | str,
        *,
        identity: RpcCall,
        read_identity: Callable[[Any], int | str] = str,
        classify: Classify = classify,
        limits_store: LimitsStore | None = None,
        request_timeout_seconds: float = 20.0,
        max_inflight: int = MAX_INFLIGHT,
        requests_per_second: float | None = None,
        attempts: int = ATTEMPTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if not endpoints:
            raise Permanent(f"chain {chain_id} has no endpoint: set at least one URL")
        self.chain_id = chain_id
        self._identity, self._read_identity = identity, read_identity
        self._classify = classify
        self.counters = Counters()
        self._store = limits_store or MemoryLimitsStore()
        self._timeout_seconds = request_timeout_seconds
        self._attempts = attempts
        self.clock, self._sleep = clock, sleep
        self._serving: Endpoint | None = None  # who answered last
        self._noted_at = -NOTE_SECONDS
        self._session: aiohttp.ClientSession | None = None
        self.endpoints = [
            Endpoint(
                url,
                clock=clock,
                random=random,
                max_inflight=max_inflight,
                requests_per_second=requests_per_second,
            )
            for url in endpoints
        ]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.chain_id}, {self.endpoints})"

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, call: RpcCall, *, height: int | None = None) -> Any:
        """Ask one question; see `batch`."""
        reply = await self.batch([call], height=height)
        return reply.results[0]

    async def batch(
        self,
        calls: Sequence[RpcCall],
        *,
        ordered: bool = False,
        height: int | None = None,
    ) -> Reply:
        """Ask several questions and return all their answers.

        With `ordered` one endpoint answers them one after the other; otherwise parts of
        the batch may travel at once, to several endpoints. `height` is the highest
        block they are about: an endpoint known to be behind it is asked last.

        Raises TooLarge when the range must be cut, Missing when a block is not there,
        RpcError when the node refuses the question itself, another Retryable when every
        attempt failed, and Permanent when no endpoint can be used or has the method.
        """
        size = max(self.limits(height).max_batch or DEFAULT_BATCH, 1)
        if ordered or len(calls) <= size:
            return await self._deliver(calls, height, ordered=ordered)
        parts = [calls[at : at + size] for at in range(0, len(calls), size)]
        replies = await gather([self._deliver(part, height) for part in parts])
        return Reply(
            [result for reply in replies for result in reply.results],
            sum(reply.size_bytes for reply in replies),
            replies[-1].endpoint,
        )

    async def ask(self, endpoint: Endpoint, call: RpcCall) -> Any:
        """Ask one question of one endpoint, once."""
        try:
            await self._verify(endpoint)
        except _WrongChain:
            raise Unreachable(f"{endpoint.label} is on another chain") from None
        results: list[Any] = []
        await self._attempt(endpoint, [call], results)
        return results[0]

    def limits(self, height: int | None = None) -> EndpointLimits:
        """The limits of the endpoint that would be asked now."""
        endpoint = self.preferred(height)
        return EndpointLimits() if endpoint is None else endpoint.limits

    def inflight(self, height: int | None = None) -> int:
        """The number of requests at once that the endpoint next in turn takes."""
        endpoint = self.preferred(height)
        return 1 if endpoint is None else endpoint.inflight.limit

    def preferred(self, height: int | None = None) -> Endpoint | None:
        """The endpoint that would be asked now, None when all are on other chains."""
        return next(iter(self._by_preference(height)), None)

    def usable(self) -> list[Endpoint]:
        """The endpoints that are not on another chain."""
        return [e for e in self.endpoints if e.health is not Health.WRONG_CHAIN]

    def saw_head(self, endpoint: Endpoint, height: int, *, lag: int = 3) -> None:
        """Remember how far an endpoint is, and which are more than `lag` behind."""
        endpoint.head = height
        best = max(e.head for e in self.endpoints if e.head is not None)
        for other in self.usable():
            if other.head is None or other.health in (Health.DOWN, Health.LIMITED):
                continue
            behind = other.head < best - lag
            if behind:
                other.health = Health.LAGGING
                other.reason = f"its head is {best - other.head} blocks behind"
            elif other.health is Health.LAGGING:
                other.health, other.reason = Health.OK, ""

    def verdicts(self) -> dict[str, tuple[Health, str]]:
        """The health of each endpoint and its reason, by its name without secrets."""
        return {e.key: (e.health, e.reason) for e in self.endpoints}

    def _by_preference(self, height: int | None) -> list[Endpoint]:
        now = self.clock()

        def rank(endpoint: Endpoint) -> tuple[bool, bool]:
            behind = endpoint.health is Health.LAGGING or (
                height is not None
                and endpoint.head is not None
                and endpoint.head < height
            )
            return (endpoint.parked_until > now, behind)

        return sorted(self.usable(), key=rank)

    async def _deliver(
        self, calls: Sequence[RpcCall], height: int | None, *, ordered: bool = False
    ) -> Reply:
        """Try until an endpoint answers, each attempt at the best one there is.

        What was answered before a failure is kept, unless the answers must be ordered:
        then they must be of one endpoint.
        """
        failures: list[Retryable] = []
        done: list[Any] = []
        for _ in range(self._attempts):
            endpoint = await self._choose(height)
            generation = endpoint.generation
            try:
                await self._verify(endpoint)
                if ordered:
                    done.clear()
                size = await self._attempt(endpoint, calls, done)
            except _WrongChain:
                continue
            except Retryable as failure:
                failures.append(failure)
                await endpoint.save_limits(self._store)
                if isinstance(failure, TooLarge):
                    raise
                self._judge(endpoint, generation, calls, failures)
                continue
            endpoint.succeeded()
            self._note_change(endpoint)
            await endpoint.save_limits(self._store)
            return Reply(done, size, endpoint)
        raise failures[-1] if failures else self._no_endpoint()

    def _note_change(self, endpoint: Endpoint) -> None:
        """Log that another endpoint has stepped in, and why; not for each request."""
        before, self._serving = self._serving, endpoint
        now = self.clock()
        if before is None or before is endpoint or now - self._noted_at < NOTE_SECONDS:
            return
        self._noted_at = now
        log.warning(
            "endpoint_changed chain_id=%s from=%s to=%s cause=%s",
            self.chain_id, before.label, endpoint.label, before.reason or "it is well",
        )  # fmt: skip

    def _judge(
        self,
        endpoint: Endpoint,
        generation: int,
        calls: Sequence[RpcCall],
        failures: list[Retryable],
    ) -> None:
        """Note a failure; raise when asking the same again is of no use."""
        failure = failures[-1]
        kind = type(failure).__name__
        self.counters.failures[kind] = self.counters.failures.get(kind, 0) + 1
        if isinstance(failure, RpcError) and failure.refusal in LASTING:
            raise failure
        health = Health.DOWN
        if isinstance(failure, Limited):
            health = Health.LIMITED
        elif isinstance(failure, Missing):
            health = Health.LAGGING
        endpoint.failed(health, failure, generation=generation)
        # Words nobody knows, or silence, twice over: perhaps the range is too large.
        unclear = [f for f in failures if isinstance(f, RpcError | TimedOut)]
        if len(unclear) >= 2 and any(call.span > 1 for call in calls):
            refusal = ErrorKind.OTHER
            if isinstance(failure, TimedOut):
                refusal = ErrorKind.TIMEOUT
            raise TooLarge(str(failure), refusal, endpoint, guessed=True)
        if isinstance(failure, RpcError) and len(unclear) >= RPC_ERROR_ATTEMPTS:
            raise failure

    async def _choose(self, height: int | None) -> Endpoint:
        """The best endpoint, after its pause if all of them pause."""
        usable = self._by_preference(height)
        if not usable:
            raise self._no_endpoint()
        now = self.clock()
        if usable[0].parked_until > now:
            soonest = min(usable, key=lambda e: e.parked_until)
            await self._sleep(soonest.parked_until - now)
            return soonest
        return usable[0]

    async def _verify(self, endpoint: Endpoint) -> None:
        """Ask an endpoint for its chain id before its first use."""
        if endpoint.chain_id == self.chain_id:
            return
        async with endpoint.verifying:
            if endpoint.chain_id is None:
                endpoint.limits = await self._store.load(endpoint.key)
                results: list[Any] = []
                await self._attempt(endpoint, [self._identity], results)
                endpoint.chain_id = self._read_identity(results[0])
            if endpoint.chain_id != self.chain_id:
                endpoint.health = Health.WRONG_CHAIN
                endpoint.reason = f"its chain id is {endpoint.chain_id}"
                raise _WrongChain

    def _no_endpoint(self) -> Permanent:
        found = ", ".join(f"{e.label} is on {e.chain_id}" for e in self.endpoints)
        return Permanent(
            f"no endpoint is on chain {self.chain_id}: {found}. Correct the URLs or "
            "the chain id in the settings"
        )

    async def _attempt(
        self, endpoint: Endpoint, calls: Sequence[RpcCall], results: list[Any]
    ) -> int:
        """Complete the results from one endpoint, in as many requests as that takes.

        Returns the bytes received.
        """
        before = endpoint.limits
        guessed = False
        received = 0
        while len(results) < len(calls):
            left = calls[len(results) :]
            try:
                part, body = await self._send(endpoint, left)
                results += read_results(endpoint, part, body, self._classify)
            except BatchRefused as refused:
                # Taught by the refusal; the same calls go out again in smaller parts.
                guessed = guessed or refused.guessed
                endpoint.learn_batch(refused.size, refused.limit)
                continue
            except RpcError:
                if guessed:  # it was not the size of the batch after all
                    endpoint.limits, endpoint.limits_dirty = before, False
                raise
            received += len(body)
            endpoint.accepted(len(part), max(call.span for call in part))
        return received

    async def _send(
        self, endpoint: Endpoint, calls: Sequence[RpcCall]
    ) -> tuple[Sequence[RpcCall], bytes]:
        """Ask the first of the calls, as many as may be asked at once."""
        span = max(call.span for call in calls)
        async with contextlib.AsyncExitStack() as stack:
            if not endpoint.has_taken(self._part(endpoint, calls), span):
                # More than ever before: one at a time, so that a limit is met once.
                await endpoint.probing.acquire()
                if endpoint.has_taken(self._part(endpoint, calls), span):
                    endpoint.probing.release()  # known since we wait
                else:
                    stack.callback(endpoint.probing.release)
            allowed = endpoint.limits.max_range
            if allowed is not None and span > allowed:
                raise TooLarge(
                    f"{endpoint.label} gives {allowed} blocks at once: ask for fewer",
                    ErrorKind.RANGE,
                    endpoint,
                )
            part = calls[: self._part(endpoint, calls)]
            await stack.enter_async_context(endpoint.inflight)
            if (wait := endpoint.rate.reserve()) > 0:
                await self._sleep(wait)
            self.counters.requests += 1
            self.counters.calls += len(part)
            sent_at = self.clock()
            try:
                answer = await endpoint.post(
                    self._open_session(), encode_calls(part), self._timeout_seconds
                )
            except AnswerTooLarge as error:
                if span > 1:
                    raise TooLarge(str(error), ErrorKind.BYTES, endpoint) from None
                if len(part) > 1:
                    raise BatchRefused(str(error), len(part), None, True) from None
                raise
            endpoint.inflight.answered(self.clock() - sent_at)
            self.counters.received_bytes += len(answer)
            return part, answer

    def _part(self, endpoint: Endpoint, calls: Sequence[RpcCall]) -> int:
        return min(len(calls), endpoint.limits.max_batch or DEFAULT_BATCH)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


class _WrongChain(Exception):
    """The endpoint has just shown that it is on another chain."""
