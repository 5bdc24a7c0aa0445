"""Limits on how many commands wait for a signer or a wallet."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from db.commands.errors import TooManyWaiting
from db.commands.spelling import address_text
from db.commands.states import State
from db.control import command

MOST_WAITING = 10_000
NEAR = 1_000  # from here to the limit each new command is counted for
FRESH_SECONDS = 1.0

_WAITING = select(func.count()).select_from(
    select(command.c.id)
    .where(
        command.c.signer == bindparam("signer"),
        command.c.state == State.ACCEPTED,
    )
    .limit(bindparam("most"))
    .subquery()
)


@dataclass(slots=True)
class _Count:
    waiting: int
    at: float


class Queues:
    """The queues of all signers, as one process knows them.

    Counting a long queue costs more than taking a command. So it is counted once in a
    second, and what this process took since is added; several processes may together
    exceed the limit by what they take in a second, less than `NEAR`, no more.
    """

    def __init__(
        self,
        most: int = MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._clock = most, clock
        self._counts: dict[str, _Count] = {}

    def enter(self, connection: Connection, signer: str) -> None:
        """Make room for one more command; raises TooManyWaiting when there is none."""
        now = self._clock()
        count = self._counts.get(signer)
        if (
            count is None
            or now - count.at >= FRESH_SECONDS
            or count.waiting + NEAR >= self._most
        ):
            waiting = connection.execute(
                _WAITING, {"signer": signer, "most": self._most}
            ).scalar_one()
            count = self._counts[signer] = _Count(waiting, now)
        if count.waiting >= self._most:
            raise TooManyWaiting(
                f"signer {signer} has {self._most} commands waiting. Ask again later."
            )
        count.waiting += 1


def check_room(
    connection: Connection,
    tenant: str,
    source: int,
    sender: bytes,
    *,
    of_account: int,
    of_wallet: int,
) -> None:
    """Raise TooManyWaiting when as many commands wait for wallets as may."""
    waiting = (command.c.sender.is_not(None), command.c.next_action_at.is_not(None))
    one = (command.c.source == source, command.c.sender == sender)
    for who, most, where in (
        (f"wallet {address_text(sender)}", of_wallet, one),
        ("your account", of_account, (command.c.tenant == tenant,)),
    ):
        rows = connection.execute(
            select(command.c.id).where(*waiting, *where).limit(most)
        )
        if len(rows.all()) >= most:
            raise TooManyWaiting(
                f"{most} commands wait for {who}, and no more may. Sign some of them, "
                "or cancel what is not wanted: POST /commands/<id>/cancel."
            )
