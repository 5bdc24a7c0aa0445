"""Times in queries: RFC 3339, or seconds since 1970."""

import math
import re
from datetime import UTC, datetime

from db.reads.errors import BadQuery

_DATE = r"\d{4}-\d\d-\d\d"
_TIME = re.compile(
    rf"{_DATE}([Tt ]\d\d:\d\d:\d\d(\.\d{{1,9}})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(name: str, text: str, *, whole: bool) -> int:
    """The first whole second at or after a time; raises BadQuery.

    A date is the beginning of its day in UTC. `whole`: a part of a second is refused.
    """
    if re.fullmatch(r"[0-9]{1,12}", text):
        return int(text)
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:
        shown = repr(text if len(text) <= 60 else f"{text[:57]}…")
        raise BadQuery(
            f"{name}: {shown} is not a time. Write it as 2026-01-31T12:00:00Z (RFC "
            "3339; a + in it as %2B), as a date, or as seconds since 1970."
        ) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    if whole and found.microsecond:
        raise BadQuery(f"{name}: {text!r} has a part of a second: leave it out.")
    return math.ceil((found - _EPOCH).total_seconds())
