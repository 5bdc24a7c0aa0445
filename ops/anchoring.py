"""Anchor the journal's days on the chain: on request, and once a day."""

import logging
import time
from dataclasses import dataclass, field
from datetime import date

from commands.errors import CommandError
from commands.submit import CommandService, Submission
from db.commands.accept import CommandRow
from db.errors import DatabaseError
from db.journal import root
from db.journal.anchoring.commands import AnchorHash
from db.journal.append import Actor

TENANT = "journal"  # so that a day is asked for once, whoever asks
NOTARY = str(AnchorHash.spec.signer)
LOOK_SECONDS = 600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnchorRequest:
    """A day, and the command that puts its root on the chain; `fresh`: just now."""

    day: root.DayRoot
    command: CommandRow
    fresh: bool


def close_and_anchor(
    command_service: CommandService, day: date | None, name: str
) -> AnchorRequest | None:
    """Close a day, or the last that is over, and ask for its root on the chain.

    It may be repeated. None: nothing was said in it.
    """
    actor, now = Actor(name, tenant=TENANT), command_service.clock()
    with command_service.engine.begin() as connection:
        wanted = day or root.last_day_over(connection, now)
        if wanted is None:
            return None
        closed = root.close_day(
            connection, command_service.registry, wanted, actor=actor, now=now
        )
        about = root.subject(connection)
    if closed is None:
        return None
    arguments = {
        "subject": about,
        "kind": root.KIND,
        "content_hash": closed.root,
        "occurred_at": closed.ended_at,
        "reference": closed.last_hash,
    }
    asked = Submission(actor, f"root of {closed.day}", arguments)
    row, fresh = command_service.submit(AnchorHash, asked)
    return AnchorRequest(closed, row, fresh)


@dataclass(slots=True)
class Daily:
    """Anchors every day that is over, looking for one every ten minutes."""

    looked_at: float = field(default=float("-inf"))
    done: set[date] = field(default_factory=set)

    def anchor(self, command_service: CommandService) -> None:
        """Anchor finished days; failures are logged and retried."""
        if time.monotonic() - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = time.monotonic()
        with command_service.engine.connect() as connection:
            days = root.days_over(connection, command_service.clock())
        for day in days:
            if day not in self.done and not self._anchored(command_service, day):
                return

    def _anchored(self, command_service: CommandService, day: date) -> bool:
        try:
            asked = close_and_anchor(command_service, day, TENANT)
        except (CommandError, DatabaseError) as error:
            gist = str(error).split("\n", 1)[0]
            log.warning("day_not_anchored day=%s cause=%s", day, gist)
            return False
        self.done.add(day)
        if asked is not None and asked.fresh:
            log.info("day_anchored day=%s command=%s", day, asked.command.id)
        return True
