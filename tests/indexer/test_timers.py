"""Timers ask once: whatever is repeated, killed or undone on the way."""

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from commands.actions import UnknownSchedule, run_schedule
from commands.requests import submit_requests
from db import sources, timers
from db.coverage import Stream
from db.declare import (
    Entry,
    Key,
    Latest,
    Projection,
    Setting,
    SettingsTable,
    Text,
    Uint,
    due,
    reaction,
    schedule,
    time_zone,
)
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.commands import DeactivateIssuer
from db.journal.append import Actor, append
from db.journal.audit.entries import ActionTaken
from db.journal.entries import read_entries
from db.journal.head import SOURCE
from db.reads.tables import ReadTables
from db.registry import Registry
from db.schema import migrate
from helpers.office import Office
from helpers.tables import streams
from indexer.chain import Chain
from indexer.react import JournalSource, run_reactions
from indexer.timers import run_due, run_schedules

ACTOR = Actor("tester", tenant="tests")
START = datetime(2026, 10, 31, 12, tzinfo=UTC)
ISSUER, CAMPAIGN = b"\x07" * 20, b"\x63" * 20
INVESTORS = [bytes([number]) * 20 for number in (1, 2, 3)]


class Lent(Entry):
    """A book was lent."""

    __domain__ = "library"
    book = Text()
    until = Uint(63)


class Reminded(Entry):
    """A reader was reminded."""

    __domain__ = "library"
    book = Text()
    loans = Uint(63)


class Book(Projection):
    """One row per book."""

    __domain__ = "library"
    book = Key()
    until = Latest(Lent.until)
    reminded = Latest(Reminded.loans)


@due(rows=Book, at="until", clock="wall")
def remind(book, tables):
    """The book is overdue."""
    yield Reminded(book=book.book, loans=len(tables.rows(Book)))


@reaction(to=Reminded)
def give_up(entry, tables):
    """Whose book is reminded of is not an issuer any more."""
    assert tables.row(Book, book=entry.book).reminded == entry.loans
    yield DeactivateIssuer(issuer=ISSUER)


@schedule("30 1 * * *", zone="America/Toronto", missed="each")
def count_each(at, tables):
    """Count the books every night."""
    yield Reminded(book=f"each {at:%m-%d %H:%M}", loans=len(tables.rows(Book)))


@schedule("30 1 * * *", zone="America/Toronto")
def count_last(at, tables):
    """Count the books after the last night."""
    yield Reminded(book=f"last {at:%m-%d %H:%M}", loans=0)


REGISTRY = Registry.of(
    [Lent, Reminded, ActionTaken], [Book], reactions=[give_up],
    commands=[DeactivateIssuer],
    timers=[remind, count_each, count_last],
)  # fmt: skip


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def lend(engine, book, until):
    with engine.begin() as connection:
        entry = Lent(book=book, until=until)
        append(connection, REGISTRY, entry, actor=ACTOR, now=START)


def reminded(engine):
    """The books of the entries that reminded of them, in order."""
    with engine.connect() as connection:
        return list(
            connection.scalars(
                text("SELECT book FROM library_reminded ORDER BY height")
            )
        )


def requests(engine):
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT source, kind, cause FROM control.outbox ORDER BY id")
        ).all()


def at_once(count, work):
    """Do something in several threads at once; what they returned, in sum."""
    found = []
    start = threading.Barrier(count)

    def run():
        start.wait()
        found.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    return sum(found)


def test_entries_are_reacted_to_in_order_and_once(engine):
    journal = JournalSource(engine, REGISTRY)
    now = datetime.fromtimestamp(1000, UTC)
    for number in range(1, 8):
        lend(engine, f"book {number}", number * 100)

    given = at_once(3, lambda: run_due(journal, now))
    asked = at_once(3, lambda: run_reactions(journal))

    assert given == 7
    assert reminded(engine) == [f"book {number}" for number in range(1, 8)]
    # Each asks for the same, which its command says is asked for once.
    assert asked == 1
    [(source, kind, cause)] = requests(engine)
    assert (source, kind) == (0, "deactivate-issuer")
    assert cause.startswith("test_timers.give_up@")
    assert run_due(journal, now) == run_reactions(journal) == 0


def test_a_row_that_cannot_be_given_keeps_no_other_waiting(engine, monkeypatch):
    journal = JournalSource(engine, REGISTRY)
    now = datetime.fromtimestamp(1000, UTC)
    for number in (1, 2, 3):
        lend(engine, f"book {number}", number * 100)

    def picky(book, tables):
        if book.book == "book 1" and not mended:
            raise KeyError(book.book)
        yield Reminded(book=book.book, loans=0)

    mended = False
    with monkeypatch.context() as patch:
        patch.setitem(REGISTRY.dues, remind.id, replace(remind, ask=picky))
        given = run_due(journal, now)
        mended = True
        later = run_due(journal, now)

    assert (given, later) == (2, 1)
    assert reminded(engine) == ["book 2", "book 3", "book 1"]


def test_a_row_is_due_again_at_another_moment_and_not_before_it(engine):
    journal = JournalSource(engine, REGISTRY)
    lend(engine, "Emma", 500)

    early = run_due(journal, datetime.fromtimestamp(500, UTC))
    first = run_due(journal, datetime.fromtimestamp(501, UTC))
    lend(engine, "Emma", 900)
    between = run_due(journal, datetime.fromtimestamp(800, UTC))
    second = run_due(journal, datetime.fromtimestamp(1e9, UTC))

    assert (early, first, between, second) == (0, 1, 0, 1)
    assert reminded(engine) == ["Emma", "Emma"]


def test_what_dies_before_its_end_has_done_nothing(engine, monkeypatch):
    journal = JournalSource(engine, REGISTRY)
    now = datetime.fromtimestamp(1000, UTC)
    lend(engine, "Emma", 500)

    with monkeypatch.context() as patch:
        patch.setattr("indexer.timers.timers.note_due", die)
        with pytest.raises(Killed):
            run_due(journal, now)
    with monkeypatch.context() as patch:
        patch.setattr("indexer.timers.timers.move_schedule", die)
        run_schedules(engine, REGISTRY, [], START)
        with pytest.raises(Killed):
            run_schedules(engine, REGISTRY, [], START + timedelta(days=1))

    assert reminded(engine) == []
    assert run_due(journal, now) == 1
    assert run_schedules(engine, REGISTRY, [], START + timedelta(days=1)) == 2
    assert len(reminded(engine)) == 3


class Killed(BaseException):
    """The process died here."""


def die(*_, **__):
    raise Killed


def test_schedules_run_once_for_each_time_though_clocks_change(engine):
    """On 1 November 2026 Toronto has 01:30 twice, on 14 March 2027 no 02:30."""
    first = run_schedules(engine, REGISTRY, [], START)
    runs = 0
    for hour in range(24 * 6):
        now = START + timedelta(hours=hour)
        runs += at_once(2, lambda now=now: run_schedules(engine, REGISTRY, [], now))

    nights = [f"11-0{day} 01:30" for day in range(1, 7)]
    assert first == 0
    assert runs == 12
    assert Counter(reminded(engine)) == Counter(
        [f"{word} {night}" for word in ("each", "last") for night in nights]
    )


def test_times_gone_by_are_caught_up_as_declared(engine):
    run_schedules(engine, REGISTRY, [], START)

    runs = run_schedules(engine, REGISTRY, [], START + timedelta(days=5))

    assert runs == 6
    assert reminded(engine) == [
        *(f"each 11-0{day} 01:30" for day in range(1, 6)), "last 11-05 01:30",
    ]  # fmt: skip


def test_another_rule_runs_nothing_before_its_next_time(engine):
    run_schedules(engine, REGISTRY, [], START)
    hourly = replace(count_each, rule="0 * * * *")
    edited = Registry.of([Lent, Reminded], [Book], timers=[hourly])
    later = START + timedelta(days=3, minutes=30)

    at_edit = run_schedules(engine, edited, [], later)
    after = run_schedules(engine, edited, [], later + timedelta(minutes=31))
    with engine.connect() as connection:
        [state] = timers.schedule_states(connection, edited.schedules.values())

    assert (at_edit, after) == (0, 1)
    assert state.last_at == START + timedelta(days=3, hours=1)
    assert state.next_at == START + timedelta(days=3, hours=2)


class DeskSettings(SettingsTable):
    """How readers are spoken to."""

    zone = Setting("UTC", "The zone of the desk.", check=time_zone)
    word = Setting("dear", "How they are called.")


@schedule("0 9 * * MON", zone=DeskSettings.zone)
def greet(at, tables):
    """Greet everybody."""
    yield Reminded(book=f"{tables.settings(DeskSettings).word} {at:%a %H:%M}", loans=0)


@due(rows=Book, at="until", clock="wall")
def call(book, tables):
    """Call whoever has a book."""
    yield Reminded(book=f"{tables.settings(DeskSettings).word} reader", loans=0)


@reaction(to=Lent)
def hand_over(entry, tables):
    """Hand the book over."""
    word = tables.settings(DeskSettings).word
    yield Reminded(book=f"{word} {entry.book}", loans=7)


def test_what_an_operator_sets_is_what_timers_and_reactions_go_by(engine):
    declared = Registry.of(
        [Lent, Reminded], [Book], reactions=[hand_over], timers=[greet, call]
    )
    registry = declared.with_settings([DeskSettings(zone="Asia/Tokyo", word="hey")])
    journal = JournalSource(engine, registry)
    sunday = START.replace(month=11, day=1, hour=23)
    for found in (declared, registry):
        run_schedules(engine, found, [], START)
    lend(engine, "Dune", int(START.timestamp()))

    assert run_schedules(engine, registry, [], sunday) == 0
    assert run_schedules(engine, registry, [], sunday + timedelta(hours=1)) == 1
    assert run_reactions(journal) == 1
    assert run_due(journal, START + timedelta(hours=1)) == 1
    assert reminded(engine) == ["hey Mon 09:00", "hey Dune", "hey reader"]
    assert declared.schedules["test_timers.greet"].zone == "UTC"


def test_a_run_by_hand_is_one_more_and_moves_nothing(engine):
    run_schedules(engine, REGISTRY, [], START)

    with engine.begin() as connection:
        run_schedule(connection, REGISTRY, count_each.id, actor=ACTOR, now=START)
        with pytest.raises(UnknownSchedule, match="there is test_timers.count_each"):
            run_schedule(connection, REGISTRY, "count", actor=ACTOR, now=START)
    asked = run_schedules(engine, REGISTRY, [], START + timedelta(minutes=5))
    with engine.connect() as connection:
        states = timers.schedule_states(connection, REGISTRY.schedules.values())

    assert asked == 1
    assert [(each.id, each.last_asked_by) for each in states] == [
        ("test_timers.count_each", "tester"), ("test_timers.count_last", ""),
    ]  # fmt: skip
    assert run_schedules(engine, REGISTRY, [], START + timedelta(days=1)) == 2


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (("test_timers.Lent", "crowdfunding.Invested"), "first"),
        (("crowdfunding.Invested", "test_timers.Lent"), "second"),
        (("test_timers.Lent", "test_timers.Lent"), "journal"),
        (("a.Thing", "b.Thing"), "journal"),
    ],
)
def test_a_schedule_reads_the_one_chain_of_its_domain(
    engine, monkeypatch, events, wanted
):
    with engine.begin() as connection:
        ids = [
            sources.register(
                connection, name=f"chain {n}", chain_id=f"eip155:{n}", ordinals="rank"
            ).id
            for n in (5, 7)
        ]
    read = []

    class Recorded(ReadTables):
        def __init__(self, connection, source, **more):
            read.append(source)
            super().__init__(connection, source, **more)

    monkeypatch.setattr("indexer.timers.ReadTables", Recorded)
    plans = [[Stream(event, "0x", 0)] for event in events]
    chains = list(zip(ids, plans, strict=True))
    run_schedules(engine, REGISTRY, chains, START)

    assert run_schedules(engine, REGISTRY, chains, START + timedelta(days=1)) == 2
    number = {"first": ids[0], "second": ids[1], "journal": SOURCE}[wanted]
    assert read == [number, number]


class TestEverySchedule:
    """Those of the product run, or wait, wherever they are declared."""

    @pytest.fixture
    def whole(self, db_engine):
        migrate(db_engine, self.REGISTRY)
        return db_engine

    REGISTRY = Registry.load()

    def chains(self, engine, count):
        with engine.begin() as connection:
            ids = [
                sources.register(
                    connection, name=f"c{n}", chain_id=f"eip155:{n}", ordinals="rank"
                ).id
                for n in range(1, count + 1)
            ]
        plan = [Stream("crowdfunding.IssuerRegistered", "0x11", 0)]
        return [(number, plan) for number in ids]

    @pytest.mark.parametrize("count", [0, 2, 3])
    def test_without_one_chain_of_its_domain_it_goes_on_to_its_next_time(
        self, whole, caplog, count
    ):
        chains = self.chains(whole, count)
        run_schedules(whole, self.REGISTRY, chains, START)

        runs = run_schedules(whole, self.REGISTRY, chains, START + timedelta(hours=2))
        again = run_schedules(whole, self.REGISTRY, chains, START + timedelta(hours=2))

        assert (runs > 0, again) == (True, 0)
        assert "schedule_cannot_read timer=settlement" in caplog.text

    def test_before_its_chain_is_read_it_waits_and_others_run(self, whole, caplog):
        chains = self.chains(whole, 1)
        other = replace(count_each, name="zz", rule="0 * * * *")
        registry = Registry.of(
            [*self.REGISTRY.events.values(), Lent, Reminded],
            [*self.REGISTRY.projections.values(), Book],
            timers=[*self.REGISTRY.schedules.values(), other],
        )
        migrate(whole, registry)
        run_schedules(whole, registry, chains, START)

        runs = [
            run_schedules(
                whole, registry, chains, START + timedelta(hours=1, minutes=n)
            )
            for n in (1, 2, 3)
        ]

        assert runs == [1, 0, 0]  # of the other
        assert caplog.text.count("schedule_waits") == 1


@pytest.fixture
def office(migrated_url):
    office = Office(migrated_url)
    yield office
    office.close()


def world(office):
    """The office's chain as reactions and timers take it."""
    return Chain(
        office.writer, office.registry, SimpleNamespace(name="devnet"), office.source,
        streams(office.registry),
    )  # fmt: skip


def commands(office, kind):
    with office.writer.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT arguments, cause FROM control.command WHERE kind = :kind"
                " ORDER BY id"
            ),
            {"kind": kind},
        )
        return [(row.arguments, row.cause) for row in rows]


def test_campaigns_are_ended_and_refunded_without_being_asked(office):
    story, chain = office.story, world(office)
    deadline = story.now + 1000
    story.emit(
        e.CampaignCreated, campaign=CAMPAIGN, campaign_id="c", goal=100,
        deadline=deadline,
    )  # fmt: skip
    story.emit(e.CampaignStatusChanged, campaign=CAMPAIGN, new=1)
    for investor in INVESTORS:
        story.emit(e.InvestmentMade, campaign=CAMPAIGN, investor=investor, amount=9)
    story.emit(e.RefundIssued, campaign=CAMPAIGN, investor=INVESTORS[0], principal=9)
    office.index()
    now = datetime.now(UTC) + timedelta(days=999)  # the chain's clock counts

    early = run_due(chain, now)
    story.mine(deadline + 1)
    office.index()
    ended = run_due(chain, now)
    again = run_due(chain, now)
    office.clock.forward(minutes=5)
    assert list(submit_requests(office.command_service)) == ["accepted"]
    story.emit(e.CampaignStatusChanged, campaign=CAMPAIGN, old=1, new=4)
    story.emit(e.CampaignCompleted, campaign=CAMPAIGN, successful=False)
    office.index()
    refunded = run_due(chain, now)

    assert (early, ended, again, refunded) == (0, 1, 0, 1)
    assert list(submit_requests(office.command_service)) == ["accepted", "accepted"]
    [(arguments, cause)] = commands(office, "finalise-campaign")
    assert arguments == {"campaign": "0x" + CAMPAIGN.hex()}
    assert cause == f'due:crowdfunding.finalise@["0x{CAMPAIGN.hex()}"]:{deadline}'
    assert [each["investor"] for each, _ in commands(office, "refund-investor")] == [
        "0x" + investor.hex() for investor in INVESTORS[1:]
    ]


def test_a_row_that_is_not_due_at_the_final_block_waits(office):
    """Its last block may be undone yet, and what is asked for cannot."""
    story, chain = office.story, world(office)
    story.emit(
        e.CampaignCreated, campaign=CAMPAIGN, campaign_id="c", goal=100,
        deadline=story.now - 5,
    )  # fmt: skip
    office.index()
    story.emit(e.CampaignStatusChanged, campaign=CAMPAIGN, new=1)
    office.index()
    written = story.written
    with office.writer.begin() as connection:
        connection.execute(
            text("UPDATE control.source SET final = :final WHERE id = :id"),
            {"final": written - 1, "id": office.source},
        )

    waiting = run_due(chain, datetime.now(UTC))
    with office.writer.begin() as connection:
        sources.observe(
            connection, office.source, head=written, head_time=story.now, final=written
        )

    assert waiting == 0
    assert run_due(chain, datetime.now(UTC)) == 1


def test_what_the_journal_asks_for_goes_where_its_signer_is(office):
    office.story.emit(e.IssuerRegistered, issuer=ISSUER)
    office.index()
    registry = Registry.of(
        [*office.registry.events.values(), Lent, Reminded],
        [*office.registry.projections.values(), Book],
        office.registry.commands.values(), [give_up], timers=[remind],
    )  # fmt: skip
    migrate(office.writer, registry)
    journal = JournalSource(office.writer, registry)
    with office.writer.begin() as connection:
        entry = Lent(book="Emma", until=500)
        append(connection, registry, entry, actor=ACTOR, now=START)
    run_due(journal, datetime.now(UTC))
    run_reactions(journal)

    office.clock.forward(minutes=5)
    assert list(
        submit_requests(replace(office.command_service, registry=registry))
    ) == ["accepted"]
    [(arguments, _)] = commands(office, "deactivate-issuer")
    assert arguments == {"issuer": "0x" + ISSUER.hex()}
    with office.writer.connect() as connection:
        kinds = [each.kind for each, _ in read_entries(connection)]
    assert "library.Reminded" in kinds
