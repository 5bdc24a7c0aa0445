"""Four kinds of errors, by how the loop handles them."""

from db.diagnosis import Ailment


class IndexerError(Exception):
    """Base: every message ends with a remedy."""


class Retryable(IndexerError):
    """Try again after a pause: the answer is missing, late, cut short or refused.

    `ailment` is what kind of trouble it is, for `status` and alarms.
    """

    ailment = Ailment.ENDPOINT_DOWN


class Late(Retryable):
    """The source does not have yet what it must have: its node lags."""

    ailment = Ailment.NODE_LAGGING


class Contradiction(Retryable):
    """Answers that cannot all be true: an endpoint lies, or several disagree."""

    ailment = Ailment.ENDPOINT_LYING


class Reorg(IndexerError):
    """The source replaced blocks that were written: rewind to the fork."""

    def __init__(self, height: int, message: str) -> None:
        super().__init__(message)
        self.height = height


class Permanent(IndexerError):
    """Stop the source and report to the operator: a retry cannot help.

    `incident` is the kind of incident to record with the stop; "" for none.
    """

    incident = ""
