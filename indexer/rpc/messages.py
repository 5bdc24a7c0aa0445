"""The frame of JSON-RPC messages (version 2.0), whatever chain they are about."""

import contextlib
import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from db.diagnosis import Ailment
from indexer.errors import Contradiction


class Malformed(Contradiction):
    """An answer that violates JSON-RPC or the chain's API."""


class NotRpc(Malformed):
    """An answer that is no JSON-RPC at all: a page of a proxy, or cut short."""

    ailment = Ailment.ENDPOINT_DOWN


class ErrorBody(msgspec.Struct):
    """The error of a response; `data` is whatever the node adds.

    Nodes and the proxies before them also write codes as text, and messages as
    anything: what cannot be read as a code is 0, a message is made text.
    """

    code: Any = 0
    message: Any = ""
    data: Any = None

    def __post_init__(self) -> None:
        try:
            self.code = int(self.code)
        except (TypeError, ValueError, OverflowError):
            self.code = 0
        if not isinstance(self.message, str):
            self.message = "" if self.message is None else str(self.message)


class Response(msgspec.Struct):
    """One response; `result` stays raw until its call's type is known."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: ErrorBody | str | None = None

    @property
    def failure(self) -> ErrorBody | None:
        """The error, if there is one; some proxies give its text alone."""
        if isinstance(self.error, str):
            return ErrorBody(message=self.error)
        return self.error


@cache
def decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder that makes a `kind` of a raw result."""
    return msgspec.json.Decoder(kind)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection while many small objects are made, none of them a cycle."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
