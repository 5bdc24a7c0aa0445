"""Lengths of time into which block times are put."""

import re

from db.declare.errors import DeclarationError
from db.declare.fields import Uint
from db.declare.meanings import Time

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_PREFIX = "block_time_"


class TimeBucket(Uint):
    """The beginning of the bucket that a block's time is in: seconds since 1970."""

    def __init__(self, seconds: int) -> None:
        super().__init__(63, meaning=Time())
        self.seconds = seconds
        self.name = f"{_PREFIX}{seconds}"


def bucket_named(name: str) -> TimeBucket | None:
    """The bucket of a name that a `TimeBucket` has; None of any other."""
    digits = name.removeprefix(_PREFIX)
    return TimeBucket(int(digits)) if digits != name and digits.isdecimal() else None


def seconds_of(length: str) -> int:
    """The seconds of `1 day`, `15 minutes`; raises DeclarationError."""
    found = re.fullmatch(r"([1-9][0-9]{0,5}) (second|minute|hour|day)s?", str(length))
    if found is None:
        raise DeclarationError(
            f"Bucket({length!r})",
            "it is no length of time",
            'write "1 day", "15 minutes": a number and second, minute, hour or day',
        )
    return int(found[1]) * _SECONDS[found[2]]
