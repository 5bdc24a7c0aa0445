"""Classify the refusals of nodes by their words.

There is no common code: Polygon Edge answers -32600 to everything, others -32005 or
-32000. So the text decides and the code only helps. A text nobody knows is `OTHER`: the
client asks for less and sees whether that was it.
"""

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

EDGE_RANGE = 1001  # Polygon Edge refuses to - from > 1000, so 1001 blocks pass
EDGE_BATCH = 20


class ErrorKind(enum.Enum):
    """The reason for which a node answered with an error."""

    RANGE = "range"  # too many blocks
    RESULTS = "results"  # too many logs
    BYTES = "bytes"  # too large an answer
    BATCH = "batch"  # too many calls in one request
    TIMEOUT = "timeout"  # the node gave up on the query
    TERMS = "terms"  # too many addresses, or topics in one position
    RATE = "rate"  # too many requests
    DENIED = "denied"  # a key that is missing, wrong, or has no right to this
    MISSING = "missing"  # the block is not there (yet)
    METHOD = "method"  # the method does not exist
    SKIPPED = "skipped"  # there is no block at this height, and will be none
    VERSION = "version"  # the transaction is of a version that was not asked for
    REVERTED = "reverted"  # eth_call ran and failed
    OTHER = "other"


# Those that asking again, or another endpoint, does not change.
LASTING = frozenset({ErrorKind.REVERTED, ErrorKind.METHOD, ErrorKind.VERSION})
SEE_NODE = "see what the node says"


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """A classified error: its kind, the limit that it names, and the remedy."""

    refusal: ErrorKind
    limit: int | None = None
    remedy: str = SEE_NODE


Classify = Callable[[int, str], ErrorClass]

_N = r"(?P<n>\d[\d,_]*(\.\d+)?\s?[km]?i?\b)"  # 1000, 10,000, 2K
_MOST = r"(limit|limited|max|maximum|up to|at most|more than|greater than|exceeds?)"

_KEY = r"(project id|api[ -]?key|access[ -]?(key|token)|token|key)"

# The first match wins: sizes that name a number before those that do not, and words
# that also stand in other texts ("limit exceeded") last.
_TEXTS: tuple[tuple[ErrorKind, tuple[str, ...]], ...] = (
    (
        ErrorKind.BATCH,
        (
            r"batch request length too long",
            rf"batch( size| request)? limit (of )?{_N}",
            rf"batch.*\b(max|limit|maximum)\D{{0,30}}{_N}",
            rf"\b(max|maximum|limit)\D{{0,30}}batch\D{{0,20}}{_N}",
            rf"more than {_N} (requests|calls) in",
            r"batch.{0,10} too (large|long|many|big)",
            r"too many (requests|calls) in (the |a )?batch",
        ),
    ),
    (
        ErrorKind.TERMS,
        (
            rf"\b(addresses|topics)\b\D{{0,40}}\b{_MOST}\D{{0,20}}{_N}",
            rf"{_MOST}\D{{0,20}}{_N} (addresses|topics)",
            r"exceeds? max (addresses|topics)",
            r"(less|fewer)( number of)? (addresses|address|topics)",
            r"too many (addresses|topics)",
        ),
    ),
    (
        ErrorKind.RESULTS,
        (
            rf"more than {_N} (results|logs|log entries)",
            rf"\b(results|logs|log entries)\b\D{{0,40}}\b{_MOST}\D{{0,20}}{_N}",
            rf"{_MOST}\D{{0,20}}{_N} (results|logs|log entries)",
            r"too many (results|logs|log entries)",
            rf"max(imum)? (results|logs) {_N}",
            r"query returned more than",
            r"block range should work",  # one that fits these results, not a limit
            r"retry with the range",
        ),
    ),
    (
        ErrorKind.BYTES,
        (
            r"response size",
            r"response (body )?(is )?too (large|big)",
            r"result (is )?too (large|big)",
        ),
    ),
    (
        ErrorKind.RANGE,
        (
            rf"\brange\b\D{{0,60}}?\b{_MOST}\D{{0,30}}?{_N}",
            rf"{_MOST}\D{{0,40}}{_N}[ -]?(blocks?|range)\b",
            rf"\brange\b\D{{0,40}}?(is|of|than|:|=) ?{_N}",
            rf"\brange {_N}",
            rf"too many blocks.*\b(maximum|max|limit)\D{{0,30}}{_N}",
            r"\brange\b.{0,20} too (high|large|big|wide|long|many)",
            r"too (large|wide|big|long) (a )?(block )?range",
            r"range limit",
            r"(exceed|larger|greater)\w*( than)?( the)?( max\w*| allowed)? block range",
            r"too many blocks",
            r"range.*(not allowed|exceed)",
        ),
    ),
    (
        ErrorKind.RATE,
        (
            r"rate.?limit",
            r"too many requests",
            r"compute units",
            r"requests? per (second|minute|day)",
            r"request (count|limit)",
            r"daily (request|limit)",
            r"quota|capacity|throttl|throughput",
        ),
    ),
    (
        ErrorKind.MISSING,
        (
            r"(header|block|blocks) not found",
            r"unknown block",
            r"missing trie node",
            r"blocks? .*(out of range|not (yet )?available|cannot be found)",
            r"blocks? .*does not exist",
            r"block out of range",
            r"beyond (the )?(current )?head",
            r"could not find block",
            r"not yet (been )?(synced|imported)",
            r"future block",
        ),
    ),
    (
        ErrorKind.REVERTED,
        (
            r"execution (was )?revert",
            r"^revert",
            r"VM execution error",
            r"out of gas",
            r"invalid opcode",
        ),
    ),
    (
        ErrorKind.DENIED,
        (
            r"unauthori[sz]ed|not authori[sz]ed|forbidden|access denied",
            rf"(invalid|unknown|missing|wrong|bad|expired|no)( or \w+)? {_KEY}",
            rf"{_KEY}\b.{{0,30}}(invalid|missing|required|disabled|expired)",
            rf"{_KEY}\b.{{0,30}}not (found|allowed)",
            rf"{_KEY}\b.{{0,30}}does not exist",
            r"must be authenticated|authentication (failed|required)",
            r"not (whitelisted|allowed from|enabled for this)",
        ),
    ),
    (
        ErrorKind.TIMEOUT,
        (
            r"time(d)? ?out",
            r"deadline exceeded",
            r"took too long",
            r"query aborted",
            r"context canceled",
        ),
    ),
    (
        ErrorKind.METHOD,
        (
            r"(method|function).*not (found|exist|supported|available|allowed)",
            r"(method|function).*(does ?n.t exist|does not exist|unsupported)",
        ),
    ),
    (ErrorKind.RATE, (r"limit exceeded",)),
)
_PATTERNS = tuple(
    (re.compile(text, re.IGNORECASE), refusal)
    for refusal, texts in _TEXTS
    for text in texts
)
_CODES = {
    429: ErrorKind.RATE,
    3: ErrorKind.REVERTED,
    -32001: ErrorKind.MISSING,
    -32029: ErrorKind.RATE,
    -32601: ErrorKind.METHOD,
}


def classify(code: int, message: str) -> ErrorClass:
    """Classify a JSON-RPC error, by its text first and its code last."""
    for pattern, refusal in _PATTERNS:
        match = pattern.search(message)
        if match:
            return ErrorClass(refusal, _limit_in(match.groupdict(), message))
    return ErrorClass(_CODES.get(code, ErrorKind.OTHER))


def _limit_in(groups: dict[str, str | None], message: str) -> int | None:
    if number := groups.get("n"):
        return _number(number)
    # The two texts of Polygon Edge name no number, but its defaults are known.
    known = {
        "block range too high": EDGE_RANGE,
        "batch request length too long": EDGE_BATCH,
    }
    return known.get(message.strip().lower())


def _number(text: str) -> int:
    digits = re.sub(r"[,_\s]", "", text).lower().rstrip("i")
    scale = {"k": 1_000, "m": 1_000_000}.get(digits[-1], 1)
    return int(float(digits.rstrip("km")) * scale)
