"""The entry that closes a period of the books."""

from db.declare import Bytes32, Entry, Time, Uint


class BooksClosed(Entry):
    """All that was dated before a moment is closed: what comes later is dated after it.

    `until` is the first moment that stays open, in seconds since 1970, at the beginning
    of a day (UTC). `digest` is the SHA-256 of the trial balance as it was then.
    """

    until = Uint(63, meaning=Time())
    digest = Bytes32()
