"""Days of the books, in UTC: books are kept by days, and a period ends with one."""

from datetime import UTC, date, datetime, timedelta

DAY_SECONDS = 86_400


def end_of(day: date) -> int:
    """Return the first moment after a day, in seconds since 1970."""
    after = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return int(after.timestamp())


def start_of(day: date) -> int:
    """Return the first moment of a day, in seconds since 1970."""
    return end_of(day) - DAY_SECONDS


def day_of(moment: int) -> str:
    """Return the day of a moment, as `2026-11-30`."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def last_day(before: int) -> str:
    """Return the last whole day before a moment, as `2026-11-30`."""
    return day_of(before - DAY_SECONDS)
