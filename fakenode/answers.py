"""Answers to requests: whole, refused, or spoilt on their way."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from fakenode.faults import Trouble


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: a status and a body; `trouble` names why there is none."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    trouble: str = ""  # "drop" closes the connection, "hang" never answers


def failed(id_: Any, code: int, message: str) -> dict[str, Any]:
    """The response that tells an error."""
    error = {"code": code, "message": message}
    return {"jsonrpc": "2.0", "id": id_, "error": error}


def as_json(replies: Any) -> Answer:
    """The answer with these responses."""
    return Answer(orjson.dumps(replies), headers={"Content-Type": "application/json"})


def early(trouble: Trouble) -> Answer | None:
    """The answer of a fault that needs no question."""
    page = b"<html><body>502 Bad Gateway</body></html>"
    found = {
        "drop": Answer(trouble="drop"),
        "hang": Answer(trouble="hang"),
        "429": Answer(b"slow down", 429, {"Retry-After": "1"}),
        "500": Answer(b"oh no", 500),
        "503": Answer(b"", 503, {"Retry-After": "1"}),
        "html": Answer(page, 200, {"Content-Type": "text/html"}),
        "html 502": Answer(page, 502, {"Content-Type": "text/html"}),
        "empty": Answer(b""),
    }
    return found.get(trouble.kind)


def late(trouble: Trouble, answer: Answer) -> Answer:
    """The answer, spoilt on its way."""
    if trouble.kind == "half":
        return Answer(answer.body[: len(answer.body) // 2], headers=answer.headers)
    if trouble.kind in ("error", "wrong id", "short batch"):
        replies = orjson.loads(answer.body)
        many = replies if isinstance(replies, list) else [replies]
        at = trouble.roll % len(many)
        if trouble.kind == "error":
            code, text = ERRORS[trouble.seed % len(ERRORS)]
            many[at] = failed(many[at]["id"], code, text)
        elif trouble.kind == "wrong id":
            many[at]["id"] = 99_999
        elif isinstance(replies, list):
            del many[at]
        return as_json(many if isinstance(replies, list) else many[0])
    return answer


ERRORS = (
    (-32603, "internal error"),
    (-32005, "daily request count exceeded, request rate limited"),
    (429, "Your app has exceeded its compute units per second capacity."),
    (-32000, "request timed out"),
    (-32000, "header not found"),
    (-32011, "no backend is currently healthy to serve traffic"),
)
"""What nodes and the balancers before them say when they have a bad moment."""
