"""Choose the chain that a request is about, with the plan of what is read of it."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from api.errors import Problem
from db import sources
from db.coverage import Stream
from db.journal.head import CHAIN_ID, NAME, SOURCE, STREAM
from db.reads import NothingIndexed, read

REFRESH_SECONDS = 5.0

Plans = Mapping[str, Sequence[Stream]]


@dataclass(frozen=True, slots=True)
class ServedChain:
    """One chain that is followed; `plan` None: only coverage says what is read."""

    id: int
    name: str
    chain_id: str
    plan: Sequence[Stream] | None


class Chains:
    """The chains of a database; with plans, those that are planned.

    Remembered for a few seconds: a chain keeps its number for ever, and a new one is
    looked for at once when it is asked for.
    """

    def __init__(self, engine: Engine, plans: Plans | None) -> None:
        self._engine = engine
        self._plans = plans
        self._known: dict[str, ServedChain] = {}
        self._read_at = -REFRESH_SECONDS

    def all(self, *, fresh: bool = False) -> dict[str, ServedChain]:
        """The chains that the database knows, by name."""
        now = time.monotonic()
        if fresh or now - self._read_at >= REFRESH_SECONDS:
            rows = read(self._engine, sources.all_sources)
            self._known = {
                row.name: ServedChain(
                    row.id, row.name, row.chain_id, self._plan(row.name)
                )
                for row in rows
                if row.chain_id != CHAIN_ID
                and (self._plans is None or row.name in self._plans)
            }
            self._read_at = now
        return self._known

    def awaited(self) -> list[str]:
        """Return the planned chains that no process has begun to follow."""
        known = self.all(fresh=True)
        return sorted(set(self._plans or ()) - set(known))

    def choose(
        self,
        name: str | None,
        *,
        in_journal: bool = False,
        events: Collection[str] = (),
        among: Collection[str] = (),
    ) -> ServedChain:
        """The chain of this name, or the only one; the journal for what it holds.

        Of several, the only one on which any of some events is read, by the plans, or
        the only one of some names.
        """
        if in_journal:
            return self._journal(name)
        known = self.all()
        if name not in known and (name is not None or not known):
            known = self.all(fresh=True)
        choices = sorted({*known, *(self._plans or ())})
        if name is None and len(choices) > 1:
            fitting = [each for each in choices if self._has(each, events, among)]
            if len(fitting) == 1:
                name = fitting[0]
        if name is None and len(choices) > 1:
            raise Problem(
                "chain_required",
                f"Say which chain with ?chain=: {', '.join(choices)}.",
                choices=choices,
            )
        wanted = name if name is not None else next(iter(choices), "any chain")
        if name is not None and name not in choices:
            raise Problem(
                "unknown_chain",
                f"Chain {name!r} is not followed. Use {', '.join(choices) or 'none'}.",
                choices=choices,
            )
        if wanted not in known:
            raise NothingIndexed(wanted)
        return known[wanted]

    def _journal(self, name: str | None) -> ServedChain:
        if name not in (None, NAME):
            raise Problem(
                "unknown_chain",
                f"This is from the journal. Leave out ?chain=, or say {NAME}.",
                choices=[NAME],
            )
        return ServedChain(SOURCE, NAME, CHAIN_ID, [STREAM])

    def _has(self, name: str, events: Collection[str], among: Collection[str]) -> bool:
        """Whether a chain is one of some names, or has some events to be read."""
        if among:
            return name in among
        plan = (self._plans or {}).get(name, ())
        return any(stream.event in events for stream in plan)

    def _plan(self, name: str) -> Sequence[Stream] | None:
        return None if self._plans is None else self._plans[name]
