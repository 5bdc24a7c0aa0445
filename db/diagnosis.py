"""Diagnose a chain, in one word that status, ready, metrics and doctor share.

The follower knows why a step failed and records its kind (`sources.set_state`); whether
the follower itself is well is seen from outside, by when it was last heard of. Trouble
with the database cannot be recorded in it: `of_database` says what that is, and a
follower that has no room to write tells so by a lock (`db.full_disk`).
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from db.engine import sqlstate
from db.leases import FOLLOWER_SECONDS
from db.status import ChainStatus

CATCHING_UP_BLOCKS = 2  # fewer are the newest blocks, which are just being read
SILENT_SECONDS = 300.0  # no step takes so long; the longest waits for an endpoint
LONG_SECONDS = 60.0  # trouble that lasts so long is not a passing one

_DISK_FULL = "53100"


class Ailment(StrEnum):
    """The kinds; the value is the name in metrics and answers."""

    NONE = "none"
    CATCHING_UP = "catching_up"
    CHAIN_HALTED = "chain_halted"
    NODE_LAGGING = "node_lagging"
    ENDPOINT_DOWN = "endpoint_down"
    ENDPOINT_LYING = "endpoint_lying"
    DATABASE_DOWN = "database_down"
    DISK_FULL = "disk_full"
    INDEXER_STUCK = "indexer_stuck"
    NOT_FOLLOWED = "not_followed"
    STOPPED = "stopped"


REMEDIES = {
    Ailment.NONE: "",
    Ailment.CATCHING_UP: "wait; `chainfold backfill` reads history with more processes",
    Ailment.CHAIN_HALTED: "see why its validators make no blocks",
    Ailment.NODE_LAGGING: "let the node catch up, or add an endpoint to rpc",
    Ailment.ENDPOINT_DOWN: "see that the node runs and can be reached, or add another",
    Ailment.ENDPOINT_LYING: "compare them with `chainfold doctor`; drop the wrong one",
    Ailment.DATABASE_DOWN: "see that Postgres runs and can be reached",
    Ailment.DISK_FULL: "make room where Postgres keeps its data",
    Ailment.INDEXER_STUCK: "look at the indexer's log, then start it again",
    Ailment.NOT_FOLLOWED: "start `chainfold run`, or `chainfold index`",
    Ailment.STOPPED: "read the cause; `chainfold incident list` has open incidents",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A chain's ailment, whether it needs a person, and the cause in words."""

    ailment: Ailment
    well: bool
    cause: str

    @property
    def remedy(self) -> str:
        """Return what a person may do about an ailment."""
        return REMEDIES[self.ailment]


def diagnose(status: ChainStatus) -> Diagnosis:
    """Diagnose a chain from its follower's last message and the time of that."""
    if status.state == "stopped":
        return Diagnosis(Ailment.STOPPED, False, status.cause)
    if status.disk_full:
        cause = "its indexer cannot write, not even this: the database has no room"
        return Diagnosis(Ailment.DISK_FULL, False, cause)
    if status.silent_seconds is None:
        return Diagnosis(Ailment.NOT_FOLLOWED, False, "no process follows it")
    if status.silent_seconds > FOLLOWER_SECONDS:
        cause = f"its indexer was not heard of for {status.silent_seconds:.0f} s"
        return Diagnosis(Ailment.INDEXER_STUCK, False, cause)
    if (status.told_seconds or 0) > SILENT_SECONDS:
        cause = f"one step has taken {status.told_seconds:.0f} s and has not ended"
        return Diagnosis(Ailment.INDEXER_STUCK, False, cause)
    if status.state in ("retrying", "stalled", "behind", "halted"):
        return _troubled(status)
    lag = status.lag_blocks or 0
    if status.state == "reading" and lag > CATCHING_UP_BLOCKS:
        return Diagnosis(Ailment.CATCHING_UP, True, f"{lag} blocks are to be read")
    if status.state == "new":
        return Diagnosis(Ailment.CATCHING_UP, True, "it was just begun")
    return Diagnosis(Ailment.NONE, True, "")


def _troubled(status: ChainStatus) -> Diagnosis:
    known = status.trouble in Ailment.__members__.values()
    if known and status.trouble:
        ailment = Ailment(status.trouble)
    elif status.state == "halted":
        ailment = Ailment.CHAIN_HALTED
    else:
        ailment = Ailment.NODE_LAGGING if status.state == "behind" else (
            Ailment.ENDPOINT_DOWN
        )  # fmt: skip
    stopped = status.state in ("stalled", "halted")
    lasting = (status.state_seconds or 0) > LONG_SECONDS
    return Diagnosis(ailment, not (stopped or lasting), status.cause)


def of_database(error: SQLAlchemyError) -> Ailment:
    """Diagnose a failed statement: no room on the disk, or no database."""
    code = sqlstate(error) if isinstance(error, DBAPIError) else None
    if code == _DISK_FULL or "No space left on device" in str(error):
        return Ailment.DISK_FULL
    return Ailment.DATABASE_DOWN
