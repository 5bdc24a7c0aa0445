"""Classify the trouble of a failed step, and tell what cannot be recorded."""

from contextlib import suppress

from db import full_disk
from db.diagnosis import Ailment, of_database
from db.engine import Refused
from indexer.chain import Chain
from indexer.errors import Retryable


def kind_of(error: Retryable | Refused) -> Ailment:
    """The kind of an error that is met by trying again."""
    return error.ailment if isinstance(error, Retryable) else of_database(error)


def tell_full_disk(chain: Chain, error: Refused) -> None:
    """Tell by a lock why a chain's state was not recorded, if there was no room."""
    if of_database(error) is not Ailment.DISK_FULL:
        return
    before = chain.full_disk
    with suppress(Refused):
        chain.full_disk = full_disk.tell(chain.engine, chain.id)
        if before is not None:  # taken anew each time: its session may have ended
            before.close()


def recorded(chain: Chain) -> None:
    """Note that the state was recorded: there is room."""
    if chain.full_disk is not None:
        chain.full_disk.close()
        chain.full_disk = None
