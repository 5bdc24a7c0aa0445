"""Finding attempts that can land no more: asked of nodes, and decided by the index."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from solders.transaction import VersionedTransaction
from sqlalchemy import Engine

from commands.errors import NodeAway
from commands.solana.node import Finalized, Node
from db.commands.solana.attempts import AttemptRow
from db.commands.solana.resolve import Look, bury, forget_past, note_past

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undertaker:
    """Whatever is needed to find that attempts are dead; `who` they belong to.

    They are looked at from `look_after` on, counted from when they were signed.
    """

    engine: Engine
    node: Node
    clock: Callable[[], datetime]
    look_after: timedelta
    who: str

    def look(self, found: Sequence[Look]) -> Iterator[str]:
        """Let attempts be dead when that is sure; yields between steps."""
        now = self.clock()
        finalized: Finalized | None = None
        for look in found:
            if (
                look.landed is not None
                or look.attempt.signed_at + self.look_after > now
            ):
                continue
            signature = look.attempt.signature
            try:
                if look.attempt.past_slot is None:
                    finalized = finalized or self.node.finalized()
                    yield "asked"
                    if _is_past(look.attempt, finalized):
                        with self.engine.begin() as connection:
                            note_past(connection, signature, finalized.slot)
                        yield "past"
                    continue
                if not look.passed:
                    continue
                dead = self.node.cannot_land(signature, blockhash_of(look.attempt.raw))
            except NodeAway as error:
                log.warning("attempt_unclear signer=%s cause=%s", self.who, error)
                return
            yield "asked"
            with self.engine.begin() as connection:
                if dead:
                    bury(connection, signature, self.clock())
                else:
                    forget_past(connection, signature)
            yield "dead" if dead else "not past"


def _is_past(attempt: AttemptRow, finalized: Finalized) -> bool:
    """Whether a block beyond the last in which an attempt is valid is final."""
    return finalized.height > attempt.last_valid and finalized.slot >= attempt.slot


def blockhash_of(raw: bytes) -> bytes | None:
    """Return the blockhash of a transaction; None where only its signature is known."""
    if not raw:
        return None
    return bytes(VersionedTransaction.from_bytes(raw).message.recent_blockhash)
