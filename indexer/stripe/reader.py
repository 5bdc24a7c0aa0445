"""The reader: along the events of an account, from the oldest that is not read yet.

One round looks at what webhooks name, so that a payment is known after one question.
Then it lists what is new, with an overlap because lists show some events late, looks at
each other object that something happened to, and notes the events with what was said in
one transaction for each object. The cursor moves after all of them. A sweep looks once
a day through all events that Stripe still lists; it should add nothing. A reader that
ends anywhere loses nothing: whatever it had not noted is listed again.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from db.bounded import Unreadable, load_json
from db.payments import account as accounts
from db.payments import events as noted
from db.payments import webhooks
from db.payments.account import AccountRow, ReaderLease
from db.payments.events import EventRef, Waiting
from db.registry import Registry
from indexer.stripe.asking import Api, event_ref
from indexer.stripe.errors import Gone, OddAnswer, WrongAccount
from indexer.stripe.look import SESSION, TYPES, Looking, Sighting
from indexer.stripe.values import text

DAY = 86_400
LISTED_SECONDS = 30 * DAY  # how long Stripe lists an event
OVERLAP_SECONDS = 900
SWEEP_SECONDS = DAY
KEPT_SECONDS = 40 * DAY  # how long we remember that an event was read
RECOVER_SECONDS = 180 * DAY  # before a gap: how old what changed in it may be
PAGES_MOST = 20  # of events at a time
WAITING_MOST = 100  # of objects in a round
BATCH = 500  # events whose objects are looked at once

# What events that say nothing of ours come to, in `control.stripe_count`.
NOTHING, FOREIGN, IGNORED = "nothing", "foreign", "ignored"
OTHER_ACCOUNT, OTHER_MODE, GONE, ODD = "other_account", "other_mode", "gone", "odd"
SAID = "said"
RECOVERED = (
    "charges", "refunds", "disputes", "payouts", "checkout.sessions",
    "radar.early_fraud_warnings",
)  # fmt: skip

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The reader was told to stop; what it has noted is noted."""


@dataclass(slots=True)
class Round:
    """The result of one round: events noted and entries made."""

    events: int = 0
    entries: int = 0


@dataclass(slots=True)
class StripeReader:
    """Reads one account. `account` and `livemode` are those that the key must be of.

    An empty `account` is whatever the key is of. `domains` are those whose payments are
    said; `clock` tells the time. Once `stopping` says so, a round raises Stopped.
    """

    engine: Engine
    registry: Registry
    api: Api
    domains: Collection[str]
    livemode: bool
    account: str = ""
    overlap_seconds: int = OVERLAP_SECONDS
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    lease: ReaderLease | None = None
    stopping: Callable[[], bool] = lambda: False
    known: str = ""  # the account, once it was opened
    recovered: set[tuple[str, str]] = field(default_factory=set, repr=False)
    # What came of webhooks' objects in this round, by event and object.
    looked: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    def open(self) -> AccountRow:
        """Ask whose key it is, and make the account known; raises WrongAccount."""
        found = self.api.account()
        if self.account and found != self.account:
            raise WrongAccount(
                f"the secret key is of {found}, and [stripe] account says "
                f"{self.account}: give the key of that account"
            )
        with self.engine.begin() as connection:
            row = accounts.register(connection, found, livemode=self.livemode)
        self.known = found
        return row

    def round(self) -> Round:
        """Read everything that is new; raises Away, KeyRefused or LeaseLost."""
        row = self._row()
        done = Round()
        read_until = row.cursor  # of a first round that did not end
        if row.polled_at is not None:
            read_until = int(row.polled_at.timestamp())
        self._look_at_announced(done)
        self._poll(row.cursor, done)
        if read_until and self._seconds() - read_until > LISTED_SECONDS - DAY:
            self._recover(read_until, done)
        self._fetch_announced(done)
        self._look_again(done)
        swept = row.swept_at
        if swept is None or self.clock() - swept >= timedelta(seconds=SWEEP_SECONDS):
            self.sweep(done)
        with self._writing() as connection:
            accounts.record_poll(connection, self.known, self.clock())
        return done

    def sweep(self, done: Round | None = None) -> int:
        """Look through the events that polls are done with; how many entries it added.

        Those that a poll will still list are left to it.
        """
        found = Round()
        since = max(self._seconds() - LISTED_SECONDS, 0)
        until = self._row().cursor - self.overlap_seconds
        for refs, _ in self._windows(since, until) if until >= since else ():
            self.take(refs, found)
        with self._writing() as connection:
            now = self.clock()
            accounts.record_sweep(connection, self.known, now, added=found.entries)
            before = self._seconds() - KEPT_SECONDS
            noted.forget_old(connection, events_before=before, now=now)
        if found.entries:
            log.warning("stripe_sweep_added entries=%d", found.entries)
        if done is not None:
            done.events += found.events
            done.entries += found.entries
        return found.entries

    def take(self, refs: Sequence[EventRef], done: Round) -> None:
        """Note events that were not noted yet, with what their objects show."""
        for at in range(0, len(refs), BATCH):
            batch = refs[at : at + BATCH]
            with self.engine.connect() as connection:
                new = noted.unread(connection, [each.id for each in batch])
            aside: dict[str, list[EventRef]] = {}
            groups: dict[tuple[str, str], list[EventRef]] = {}
            for ref in batch:
                if ref.id not in new:
                    continue
                if outcome := self._aside(ref) or self.looked.get((ref.id, ref.object)):
                    aside.setdefault(outcome, []).append(ref)
                else:
                    groups.setdefault((TYPES[ref.type], ref.object), []).append(ref)
            for outcome, group in aside.items():
                self._note(group, outcome, done)
            # A session shows its charge too, so that nobody has to ask whose it is.
            for (kind, id_), group in sorted(groups.items(), key=_after_sessions):
                self._look(kind, id_, group, done)

    def look(self, kind: str, id_: str, done: Round | None = None) -> int:
        """Look at one object without an event; how many entries that made."""
        found = done or Round()
        before = found.entries
        self._look(kind, id_, [], found)
        return found.entries - before

    def looking(self) -> Looking:
        """The part that looks at objects."""
        return Looking(self.api, self.domains, self._was_said)

    def _poll(self, cursor: int, done: Round) -> None:
        since = max(cursor - self.overlap_seconds, 0) if cursor else 0
        listed = max(since, self._seconds() - LISTED_SECONDS, 0)
        for refs, reached in self._windows(listed):
            self.take(refs, done)
            with self._writing() as connection:
                accounts.move_cursor(connection, self.known, reached)

    def _windows(
        self, since: int, end: int | None = None
    ) -> Iterator[tuple[Sequence[EventRef], int]]:
        """The events between two moments, oldest first, with the moment reached.

        A window with too many events is halved, so that memory is bounded.
        """
        until = end
        while True:
            whole = until is not None and until <= since
            refs = self.api.events(
                since=since, until=until, pages=None if whole else PAGES_MOST
            )
            if refs is None:
                until = max(since, (since + (until or self._seconds())) // 2)
                continue
            newest = max((each.created for each in refs), default=0)
            yield refs, newest if until is None else until
            if until == end:
                return
            assert until is not None
            since, until = until + 1, end

    def _aside(self, ref: EventRef) -> str:
        """The reason to leave an event alone; empty for one that is looked at."""
        if ref.account and ref.account != self.known:
            return OTHER_ACCOUNT
        if ref.livemode != self.livemode:
            return OTHER_MODE
        if ref.type not in TYPES or TYPES[ref.type] != ref.kind or not ref.object:
            return IGNORED
        return ""

    def _look(self, kind: str, id_: str, group: list[EventRef], done: Round) -> str:
        """Look at an object, and note what it shows; what came of it."""
        if self.stopping():
            raise Stopped
        looking = self.looking()
        outcome, waits = NOTHING, ""
        seen = Sighting()
        try:
            seen = looking.look(kind, id_)
            waits = seen.waits
            outcome = FOREIGN if seen.foreign else NOTHING
        except Gone:
            outcome = GONE
            log.warning("stripe_object_gone kind=%s id=%s", kind, id_)
        except (OddAnswer, ValueError) as error:
            # It must not be in the way of all that come after it.
            outcome, waits = ODD, str(error)
            log.exception("stripe_object_odd kind=%s id=%s", kind, id_)
        before = done.entries
        self._note(group, outcome, done, seen, Waiting(kind, id_, waits))
        return SAID if done.entries > before else outcome

    def _note(
        self,
        group: Sequence[EventRef],
        outcome: str,
        done: Round,
        seen: Sighting | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        now = self.clock()
        with self._writing() as connection:
            done.entries += noted.note(
                connection, self.registry, self.known, group, outcome,
                seen.sayings if seen else (), now=now,
            )  # fmt: skip
            done.events += len(group)
            if waiting is not None and waiting.cause:
                noted.wait_for(connection, waiting, now)
            elif waiting is not None:
                noted.wait_no_more(connection, waiting.kind, waiting.object)

    def _look_at_announced(self, done: Round) -> None:
        """Look at the objects that new webhooks name, before events are listed.

        A webhook's content chooses only what is looked at first. Its event is noted
        when the list shows it, without a second look: the object was fetched after the
        event was made.
        """
        self.looked.clear()
        with self.engine.connect() as connection:
            bodies = webhooks.unfetched(connection, WAITING_MOST)
            new = noted.unread(connection, list(bodies))
        named = []
        for id_ in new:
            try:
                ref = event_ref(load_json(bodies[id_], bytes_max=len(bodies[id_])))
            except (Unreadable, OddAnswer, AttributeError):
                continue  # it is retrieved by its id
            if ref.id == id_ and not self._aside(ref):
                named.append(ref)
        for ref in sorted(named, key=lambda each: each.kind != SESSION):
            outcome = self._look(ref.kind, ref.object, [], done)
            if outcome != GONE:
                self.looked[ref.id, ref.object] = outcome

    def _fetch_announced(self, done: Round) -> None:
        """Retrieve the events of webhooks that no list has shown yet."""
        with self.engine.connect() as connection:
            ids = list(webhooks.unfetched(connection, WAITING_MOST))
            new = noted.unread(connection, ids)
        if not ids:
            return
        for id_ in sorted(new):
            try:
                self.take([self.api.event(id_)], done)
            except (Gone, OddAnswer) as error:
                log.warning("stripe_webhook_unknown event=%s cause=%s", id_, error)
        with self._writing() as connection:
            webhooks.mark_fetched(connection, ids)

    def _look_again(self, done: Round) -> None:
        with self.engine.connect() as connection:
            due = noted.due_waiting(connection, self.clock(), WAITING_MOST)
        for each in due:
            self._look(each.kind, each.object, [], done)

    def _recover(self, since: int, done: Round) -> None:
        """Look at everything that may have changed while nobody read the events.

        After a failure it goes on with the objects that were not looked at.
        """
        log.warning("stripe_events_missed since=%d: looking at all objects", since)
        created = {"gte": max(since - RECOVER_SECONDS, 0)}
        for service in RECOVERED:
            for item in self.api.each(service, created=created):
                object_ = (text(item, "object"), text(item, "id"))
                if object_ not in self.recovered:
                    self._look(*object_, [], done)
                    self.recovered.add(object_)
        self.recovered.clear()

    def _was_said(self, key: str) -> bool:
        with self.engine.connect() as connection:
            return noted.was_said(connection, key)

    def _row(self) -> AccountRow:
        if not self.known:
            self.open()
        with self.engine.connect() as connection:
            row = accounts.find(connection)
        assert row is not None
        return row

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that holds the account, for the reader that has its lease."""
        with self.engine.begin() as connection:
            if self.lease is not None:
                self.lease.guard(connection)
            else:
                accounts.lock(connection, self.known)
            yield connection

    def _seconds(self) -> int:
        return int(self.clock().timestamp())


def _after_sessions(item: tuple[tuple[str, str], list[EventRef]]) -> bool:
    return item[0][0] != SESSION
