"""Answers: the envelope around rows, and the tag that saves sending it again.

    {"data": …, "next": …,
     "block": {"chain", "height", "hash", "time", "final", "exact"},
     "meta": {"proof": {"header", "logs"}}, "count": …, "scan": …}

`meta.proof` is the lowest level of proof of the blocks that the answer was read from
(`db.proofs`); answers from the journal, which is no chain, have none.

The ETag follows from the question and the block, so that a client that has the answer
is told so after one small read. An answer that is not exact has none: it changes while
the checkpoint stands still. Nor has one whose block is neither remembered nor final: a
reorg could change it under the same height.
"""

import hashlib
from collections.abc import Callable

import orjson
from flask import Response, request

from db.reads import BlockInfo, Freshness, Page

CACHE = "no-cache"  # keep it, but ask before using it again


def page_answer(page: Page, tag: str) -> Response:
    """A page of rows."""
    rest = orjson.dumps({"next": page.next, **page.extra})[1:]
    return _answer(
        b'{"data":' + page.data + b"," + _about(page.block) + b"," + rest, tag
    )


def row_answer(data: bytes, block: BlockInfo, tag: str) -> Response:
    """One row."""
    return _answer(b'{"data":' + data + b"," + _about(block) + b"}", tag)


def tag_of(block: BlockInfo, *versions: str) -> str:
    """The ETag of this request's answer at a block, empty when it has none.

    `versions` are what the columns and the table are made from.
    """
    if not block.exact or (block.hash is None and not block.final):
        return ""
    proof = None if block.proof is None else block.proof.as_json()
    content = orjson.dumps([request.full_path, block.as_json(), proof, versions])
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def not_modified(
    read_freshness: Callable[[], Freshness], *versions: str
) -> Response | None:
    """A 304 when the client has the answer already; None: make it."""
    if "If-None-Match" not in request.headers:
        return None
    freshness = read_freshness()
    if freshness.block is None:
        return None
    tag = tag_of(freshness.block, *versions, freshness.built_at)
    if not tag or not request.if_none_match.contains_weak(tag):
        return None
    answer = Response(status=304)
    answer.set_etag(tag)
    answer.headers["Cache-Control"] = CACHE
    return answer


def _about(block: BlockInfo) -> bytes:
    """Return the members of an answer that describe its block."""
    members: dict[str, object] = {"block": block.as_json()}
    if block.proof is not None:
        members["meta"] = {"proof": block.proof.as_json()}
    return orjson.dumps(members)[1:-1]


def _answer(body: bytes, tag: str) -> Response:
    answer = Response(body, mimetype="application/json")
    if tag:
        answer.set_etag(tag)
    answer.headers["Cache-Control"] = CACHE
    return answer
