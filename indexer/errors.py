"""Four kinds of trouble, by what the loop must do about them."""


class IndexerError(Exception):
    """Base: every message ends with what to do."""


class Retryable(IndexerError):
    """Try again after a pause: the answer is missing, late, cut short or refused."""


class Reorg(IndexerError):
    """The source replaced blocks that were written: rewind to the fork."""

    def __init__(self, height: int, message: str) -> None:
        super().__init__(message)
        self.height = height


class Permanent(IndexerError):
    """Stop this source and tell the operator: asking again cannot help."""
