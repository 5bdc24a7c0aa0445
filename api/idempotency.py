"""The `Idempotency-Key` header, required of every request that changes something.

After draft-ietf-httpapi-idempotency-key-header-07: 400 without a key, 422 when it
stands for another request, 409 while the first request with it is still being taken.
The key itself is a unique column beside the command; this is only the door.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from api.errors import Problem

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")

_in_progress: set[tuple[str, str]] = set()
_lock = threading.Lock()


def idempotency_key() -> str:
    """The request's key, with or without the quotes of a structured field."""
    given = request.headers.get(HEADER, "")
    key = given[1:-1] if given[:1] == given[-1:] == '"' else given
    if not key:
        raise Problem(
            "idempotency_key_missing",
            f"Send {HEADER}: <a new UUID>. The same key asks for nothing twice, so a "
            "request whose answer was lost can be sent again.",
        )
    if _KEY.fullmatch(key) is None:
        raise Problem(
            "idempotency_key_missing",
            f"{HEADER} is 1 to 200 printable ASCII characters without spaces, as a "
            "UUID is.",
        )
    return key


@contextmanager
def alone_with(tenant: str, key: str) -> Iterator[None]:
    """Until the end of the block no other request of this process has the key."""
    with _lock:
        if (tenant, key) in _in_progress:
            raise Problem(
                "request_in_progress",
                "A request with this key is being taken just now. Ask again in a "
                "second, with the same key.",
            )
        _in_progress.add((tenant, key))
    try:
        yield
    finally:
        with _lock:
            _in_progress.discard((tenant, key))
