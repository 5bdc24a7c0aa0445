"""Cursors: where a page ended, tied to the query it is a page of.

    base64url([digest of the query, value, value, …])

The values are those of the last row's sort columns, in their JSON form; they go
through the same checks as any value of a query, so that a forged cursor can ask for
nothing that a filter could not. The digest is there to refuse a cursor taken from
another query, which would silently skip or repeat rows.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from db.reads.errors import BadCursor, BadQuery
from db.reads.forms import Column, parse

MAX_CHARACTERS = 4096


def query_digest(*parts: Any) -> str:
    """Equal for two queries whose pages follow each other; the limit may differ."""
    content = repr(parts).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def encode_cursor(digest: str, values: Sequence[Any]) -> str:
    """Return the cursor of the page after a row with these values."""
    content = base64.urlsafe_b64encode(orjson.dumps([digest, *values]))
    return content.decode().rstrip("=")


def decode_cursor(cursor: str, digest: str, columns: Sequence[Column]) -> list[Any]:
    """The values of a cursor, as Postgres takes them; raises BadCursor."""
    content = _content(cursor)
    if not isinstance(content, list) or len(content) != 1 + len(columns):
        raise BadCursor(_MANGLED)
    if content[0] != digest:
        raise BadCursor(
            "The cursor belongs to another query. Keep the chain, the filters, the "
            "sort and as_of as they were when `next` was given, or begin without "
            "`after`."
        )
    values = []
    for column, value in zip(columns, content[1:], strict=True):
        try:
            missing = value is None and column.nullable
            values.append(None if missing else parse(column, value))
        except BadQuery as error:
            raise BadCursor(_MANGLED) from error
    return values


_MANGLED = (
    "The cursor cannot be read. Send `next` of the page before as it was given, or "
    "begin without `after`."
)


def _content(cursor: str) -> Any:
    if len(cursor) > MAX_CHARACTERS:
        raise BadCursor(_MANGLED)
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return orjson.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
    except (binascii.Error, UnicodeError, orjson.JSONDecodeError) as error:
        raise BadCursor(_MANGLED) from error
