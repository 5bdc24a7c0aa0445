"""JSON-RPC calls to a node, and the reading of its answers.

An answer is taken whole or refused: cut or invalid JSON, an HTML page, an id that is
missing, doubled or unknown, and a result of the wrong type all raise `Malformed`; a
null where there must be a value raises `Missing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from indexer.errors import Late, Retryable
from indexer.rpc.endpoint import Denied, Endpoint, Limited
from indexer.rpc.messages import (
    ErrorBody,
    Malformed,
    NotRpc,
    Response,
    collector_paused,
    decoder_of,
)
from indexer.rpc.refusals import Classify, ErrorKind, classify


class RpcError(Retryable):
    """A node answered with an error that is about the question itself."""

    def __init__(self, message: str, body: ErrorBody, refusal: ErrorKind) -> None:
        super().__init__(message)
        self.body = body
        self.refusal = refusal


class TooLarge(Retryable):
    """The range exceeds the endpoint's limits: split it.

    `guessed` when the node's words did not say so, but it failed again and again.
    """

    def __init__(
        self,
        message: str,
        refusal: ErrorKind,
        endpoint: Endpoint,
        guessed: bool = False,
    ) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.endpoint = endpoint
        self.guessed = guessed


class Missing(Late):
    """The block is not there yet, on any endpoint that could be asked."""


class BatchRefused(Retryable):
    """The endpoint accepts fewer calls per batch; `guessed`: it named no limit."""

    def __init__(
        self, message: str, size: int, limit: int | None, guessed: bool
    ) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit
        self.guessed = guessed


@dataclass(frozen=True, slots=True)
class RpcCall:
    """One question.

    `span` is the number of blocks of an eth_getLogs, `terms` the most addresses or
    topics that it names in one position; both are 0 for other methods.
    """

    method: str
    params: Sequence[Any]
    kind: Any  # the type of the result, as msgspec understands it
    nullable: bool = False
    span: int = 0
    terms: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The results of a batch in the order of its calls."""

    results: Sequence[Any]
    size_bytes: int
    endpoint: Endpoint


BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_one = decoder_of(Response)
_many = decoder_of(list[Response])


def encode_calls(calls: Sequence[RpcCall]) -> bytes:
    """The request: an array, or an object when there is one call."""
    entries = [
        {"jsonrpc": "2.0", "id": at, "method": c.method, "params": list(c.params)}
        for at, c in enumerate(calls)
    ]
    return msgspec.json.encode(entries if len(entries) > 1 else entries[0])


def read_results(
    endpoint: Endpoint,
    calls: Sequence[RpcCall],
    body: bytes,
    classify: Classify = classify,
) -> list[Any]:
    """The typed results in the order of the calls; raises the first call's trouble."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        if len(calls) == 1:
            responses = [_one.decode(body)]
        elif body.lstrip()[:1] == b"{":
            raise _refused_batch(endpoint, len(calls), _one.decode(body), classify)
        else:
            responses = _many.decode(body)
            if len(responses) == 1 and responses[0].failure is not None:
                raise _refused_batch(endpoint, len(calls), responses[0], classify)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotRpc(
            f"{endpoint.label} did not answer with JSON-RPC "
            f"({len(body)} bytes): ask again, and check the URL"
        ) from None
    by_id: dict[Any, Response] = {_number(r.id): r for r in responses}
    if len(responses) != len(calls) or by_id.keys() != set(range(len(calls))):
        if len(calls) == 1 and (error := responses[0].failure) is not None:
            raise _failure(endpoint, calls[0], error, classify)
        raise Malformed(
            f"{endpoint.label} answered {len(responses)} of {len(calls)} calls, or "
            "with other ids: ask again"
        )
    with collector_paused():
        return [
            _result(endpoint, call, by_id[at], classify)
            for at, call in enumerate(calls)
        ]


def _number(given: int | str | None) -> int | str | None:
    """Return the id of a response; some nodes send a number as text."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


def _result(
    endpoint: Endpoint, call: RpcCall, response: Response, classify: Classify = classify
) -> Any:
    if (error := response.failure) is not None:
        found = classify(error.code, error.message)
        if found.refusal is ErrorKind.SKIPPED and call.nullable:
            return None
        raise _failure(endpoint, call, error, classify)
    if bytes(memoryview(response.result)[:5]) == b"null":
        if call.nullable:
            return None
        raise Missing(
            f"{endpoint.label} has no answer to {call.method} yet: ask again later"
        )
    try:
        return decoder_of(call.kind).decode(response.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(
            f"{endpoint.label}: {call.method}: {endpoint.hide(error)}: ask again"
        ) from None


def _failure(
    endpoint: Endpoint, call: RpcCall, body: ErrorBody, classify: Classify
) -> Retryable:
    """The exception for an error about one call; teaches the endpoint its limits."""
    found = classify(body.code, body.message)
    text = f"{endpoint.label}: {call.method}: {body.code} {endpoint.hide(body.message)}"
    if found.refusal is ErrorKind.RATE:
        return Limited(f"{text}: ask less often, or add an endpoint")
    if found.refusal is ErrorKind.DENIED:
        return Denied(f"{text}: check the key in its URL, and what it may ask")
    if found.refusal is ErrorKind.MISSING:
        return Missing(f"{text}: ask again later")
    if call.terms > 1 and found.refusal is ErrorKind.TERMS:
        endpoint.learn_terms(call.terms, found.limit)
        return TooLarge(f"{text}: name fewer", found.refusal, endpoint)
    if call.span > 1 and found.refusal is ErrorKind.RANGE:
        endpoint.learn_range(call.span, found.limit)
        return TooLarge(f"{text}: ask for fewer blocks", found.refusal, endpoint)
    if call.span and found.refusal in (ErrorKind.RESULTS, ErrorKind.BYTES):
        endpoint.learn_results(found.limit)
        return TooLarge(f"{text}: ask for fewer blocks", found.refusal, endpoint)
    if call.span > 1 and found.refusal is ErrorKind.TIMEOUT:
        return TooLarge(f"{text}: ask for fewer blocks", found.refusal, endpoint)
    return RpcError(f"{text}: {found.remedy}", body, found.refusal)


def _refused_batch(
    endpoint: Endpoint, size: int, response: Response, classify: Classify
) -> Retryable:
    """One error in answer to an array, which is how nodes refuse a long batch.

    Polygon Edge sends it as an object, geth in an array with the id of the first call.
    """
    if (error := response.failure) is None:
        return Malformed(f"{endpoint.label} answered a batch with an object: ask again")
    found = classify(error.code, error.message)
    text = f"{endpoint.label}: {endpoint.hide(error.message)}"
    if found.refusal is ErrorKind.RATE:
        return Limited(f"{text}: ask less often, or add an endpoint")
    if found.refusal is ErrorKind.DENIED:
        return Denied(f"{text}: check the key in its URL, and what it may ask")
    guessed = found.refusal is not ErrorKind.BATCH
    return BatchRefused(
        f"{text}: {size} calls at once are too many", size, found.limit, guessed
    )
