"""Times as people write them: RFC 3339, a date, or seconds since 1970."""

import math
import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = -62_135_596_800  # the first second that RFC 3339 can write, of the year 1
LAST = 253_402_300_799  # the last one, of the year 9999
HOW = (
    "Write it as 2026-01-31T12:00:00Z (RFC 3339; a + in it as %2B), as a date, or as "
    "seconds since 1970."
)
_DATE = r"\d{4}-\d\d-\d\d"
_TIME = re.compile(
    rf"{_DATE}([Tt ]\d\d:\d\d:\d\d(\.\d{{1,9}})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)


def read_time(name: str, text: str, *, whole: bool = True) -> int:
    """The first whole second at or after a time; raises ValueError.

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
        raise ValueError(f"{name}: {shown} is not a time. {HOW}") from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    if whole and found.microsecond:
        raise ValueError(f"{name}: {text!r} has a part of a second: leave it out.")
    return math.ceil((found - EPOCH).total_seconds())


def time_text(seconds: int) -> str:
    """A time in RFC 3339; one that it cannot write as its seconds since 1970."""
    if not FIRST <= seconds <= LAST:
        return str(seconds)
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
