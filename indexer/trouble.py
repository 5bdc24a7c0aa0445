"""Classify the trouble of a failed step, for the chain's state."""

from db.diagnosis import Ailment, of_database
from db.engine import Refused
from indexer.errors import Retryable


def kind_of(error: Retryable | Refused) -> Ailment:
    """The kind of an error that is met by trying again."""
    return error.ailment if isinstance(error, Retryable) else of_database(error)
