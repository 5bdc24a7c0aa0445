"""Failures of Stripe's API, by what the reader must do about them."""

from indexer.errors import IndexerError, Permanent, Retryable


class Away(Retryable):
    """Stripe did not answer, or not as it should: ask again after a pause."""


class RateLimited(Away):
    """Stripe was asked too much: ask again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Stripe asks to wait for {seconds:g} s: it is asked again")
        self.seconds = seconds


class KeyRefused(Permanent):
    """Stripe does not take the secret key, or it may not read what is needed."""


class WrongAccount(Permanent):
    """The secret key is of another account, or of another mode."""


class Gone(IndexerError):
    """There is no such object for this key."""


class OddAnswer(IndexerError):
    """An object is not what the API's manual says it is."""
