"""Books balance, hold closed periods, and say what Stripe and the treasury say."""

import csv
import hashlib
import io
import time
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from db.books.chart import AccountChart
from db.books.closing import CannotClose, close_period, closed_periods
from db.books.days import DAY_SECONDS, day_of, end_of, start_of
from db.books.export import COLUMNS, csv_lines
from db.books.lines import Span
from db.books.trial_balance import read_trial_balance
from db.declare import Entry, Text, Uint
from db.declare.books import AccountType, Currency, LedgerAccount, Posting
from db.declare.errors import DeclarationError
from db.domains.settlement import entries, postings
from db.domains.settlement.events import PurchaseSettled
from db.domains.settlement.rules import funding_is_new
from db.engine import connect
from db.journal.append import Actor, append
from db.journal.head import SOURCE
from db.payments.stripe.postings import BANK, CARD_FEES, STRIPE_BALANCE
from db.reads.tables import ReadTables
from db.registry import Registry
from db.schema import migrate
from devnet.stripe.book import DAY
from helpers import servers
from helpers.stripe_shop import Shop

REGISTRY = Registry.load()
CHART = AccountChart(REGISTRY.postings)
ANNA = Actor("test:anna", tenant="test")
TODAY = date(2026, 11, 27)
NOW = datetime(2026, 11, 27, 15, 4, 31, tzinfo=UTC)
FOREVER = end_of(date(2100, 1, 1))


def say(engine, entry, now=NOW):
    with engine.begin() as connection:
        return append(connection, REGISTRY, entry, actor=ANNA, now=now)


def funded(usdc, cents, at, reference="wire 4711"):
    return entries.TreasuryFunded(
        usdc=usdc, cents=cents, reference=reference, funded_at=at
    )


def settled(purchase, outflow):
    digest = hashlib.sha256(purchase.encode()).digest()
    return entries.SettlementSeen(
        purchase=purchase, payment_hash=digest, outflow=outflow
    )


def balance(engine, before=FOREVER, **options):
    with engine.connect() as connection:
        return read_trial_balance(connection, CHART, Span(before, **options))


def balances(engine, **options):
    """The balance of each account, by its name and currency."""
    rows = balance(engine, **options).rows
    return {(row.account.name, row.currency): row.balance for row in rows}


def of_account(found, account):
    """The balances of an account that are not zero, by currency."""
    rows = (row for row in found.rows if row.account == account)
    return nonzero({row.currency: row.balance for row in rows})


def nonzero(counted):
    return {key: number for key, number in counted.items() if number}


def close(engine, day, now=NOW):
    with engine.begin() as connection:
        return close_period(connection, REGISTRY, day, ANNA, now)


def lines(engine, since=0, before=FOREVER):
    with engine.connect() as connection:
        found = "".join(csv_lines(connection, CHART, since, before))
    return list(csv.DictReader(io.StringIO(found)))


class TestStripe:
    def test_the_balance_at_stripe_is_what_stripe_says(self, migrated_engine):
        """Payments, refunds, disputes, late fees, payouts, in four currencies."""
        shop = Shop(seed=811)
        for currency in ("usd", "usd", "eur", "jpy", "kwd"):
            charge = shop.paid(currency=currency)
            shop.refund(charge, charge["amount"] // 3)
            shop.book.clock.move(7 * 3600 + 11)
        returned = shop.refund(shop.paid(20_011), 7_013)
        won = shop.disputing.open(shop.paid(5_009)["id"])
        shop.disputing.close(won["id"], won=True)
        shop.disputing.open(shop.paid(6_011)["id"])
        shop.book.clock.move(4 * DAY)
        shop.paying_out.arrive(shop.paying_out.run()["id"])
        shop.refunding.fail(returned["id"])
        shop.paid(3_307, late_fee=True)
        shop.book.clock.move(4 * DAY)
        shop.paying_out.by_hand(1_231)
        shop.reader(migrated_engine, REGISTRY).round()

        expected, fees, out = Counter(), Counter(), Counter()
        for each in shop.book.all("balance_transaction"):
            expected[each["currency"]] += each["net"]
            fees[each["currency"]] += each["fee"]
            if each["type"] == "payout":
                out[each["currency"]] -= each["amount"]
        found = balance(migrated_engine)
        assert expected["usd"] > 0
        assert of_account(found, STRIPE_BALANCE) == nonzero(expected)
        assert of_account(found, BANK) == nonzero(out)
        assert of_account(found, CARD_FEES) == nonzero(fees)
        for _, debit, credit in found.totals():
            assert debit == credit > 0
        businesses = {row["business"] for row in lines(migrated_engine)
                      if row["name"] == "Card sales"}  # fmt: skip
        assert businesses == {"crowdfunding"}


class TestTreasury:
    def test_what_was_funded_less_what_was_paid_out(self, migrated_engine):
        bought = int(NOW.timestamp()) - 3 * DAY_SECONDS
        say(migrated_engine, funded(5_000_000_007, 501_213, bought))
        say(migrated_engine, settled("0x" + "1f" * 16, 4_488_300))
        say(migrated_engine, settled("0x" + "2e" * 16, 1_346_490))

        assert balances(migrated_engine) == {
            ("Treasury", "usdc"): 5_000_000_007 - 4_488_300 - 1_346_490,
            ("Paid to creators", "usdc"): 5_834_790,
            ("Exchange", "usdc"): -5_000_000_007,
            ("Exchange", "usd"): 501_213,
            ("Bank", "usd"): -501_213,
        }
        shown = balance(migrated_engine).as_json(CHART)
        [treasury] = [r for r in shown["rows"] if r["name"] == "Treasury"]
        assert (treasury["debit"], treasury["credit"], treasury["balance"]) == (
            "5000.000007", "5.834790", "4994.165217",
        )  # fmt: skip
        assert [row["type"] for row in shown["rows"]] == ["asset"] * 4 + ["expense"]

    def test_effective_and_dated_differ_for_what_came_late(self, migrated_engine):
        long_ago = int(NOW.timestamp()) - 40 * DAY_SECONDS
        close(migrated_engine, TODAY - timedelta(days=20))
        say(migrated_engine, funded(900_001, 91, long_ago))

        month = end_of(TODAY - timedelta(days=30))
        assert balance(migrated_engine, month).rows == ()
        assert len(balance(migrated_engine, month, by="effective").rows) == 4
        [first, *_] = lines(migrated_engine)
        assert first["date"] == str(TODAY - timedelta(days=19))
        assert first["effective"].startswith(day_of(long_ago))
        open_from = start_of(TODAY - timedelta(days=19))
        assert lines(migrated_engine, open_from) == lines(migrated_engine) != []
        assert lines(migrated_engine, before=open_from) == []
        assert lines(migrated_engine, open_from + 1) == []


class TestFunding:
    @pytest.mark.parametrize(("change", "told"), [
        ({}, set()),
        ({"usdc": 0}, {"nothing_came"}),
        ({"reference": ""}, {"no_reference"}),
        ({"reference": "wire 4711"}, {"recorded"}),
        ({"funded_at": time.time() + 3_600}, {"in_the_future"}),
    ])  # fmt: skip
    def test_it_is_recorded_once_and_not_before_it_came(
        self, migrated_engine, change, told
    ):
        say(migrated_engine, funded(5, 7, 1_700_000_000, "wire 4711"))
        usual = {
            "usdc": 9,
            "cents": 0,
            "reference": "wire 4712",
            "funded_at": 17 * 10**8,
        }
        with migrated_engine.connect() as connection:
            tables = ReadTables(connection, SOURCE)
            found = funding_is_new(SimpleNamespace(**(usual | change)), tables)
            assert {each.code for each in found} == told


class TestClosing:
    def test_what_comes_later_does_not_change_a_closed_period(self, migrated_engine):
        say(migrated_engine, settled("0x" + "3d" * 16, 77_013), NOW - timedelta(days=9))
        was = close(migrated_engine, TODAY - timedelta(days=5))
        before = end_of(TODAY - timedelta(days=5))
        say(migrated_engine, funded(11_000_003, 1_107, before - 8 * DAY_SECONDS))

        assert balance(migrated_engine, before).rows == was.rows != ()
        with migrated_engine.connect() as connection:
            [period] = closed_periods(connection, CHART)
        assert period.as_it_was
        assert period.last_day == str(TODAY - timedelta(days=5))

    def test_one_that_changed_all_the_same_is_told(self, migrated_engine):
        say(migrated_engine, settled("0x" + "4c" * 16, 5_003), NOW - timedelta(days=9))
        close(migrated_engine, TODAY - timedelta(days=5))
        with migrated_engine.begin() as connection:
            changed = connection.execute(text(
                "UPDATE facts.settlement_settlement_seen SET outflow = outflow + 1"
            ))  # fmt: skip
            assert changed.rowcount == 1
        with migrated_engine.connect() as connection:
            [period] = closed_periods(connection, CHART)
        assert not period.as_it_was

    def test_a_period_ends_before_today_and_after_the_one_before(self, migrated_engine):
        with pytest.raises(CannotClose, match="not over"):
            close(migrated_engine, TODAY)
        close(migrated_engine, TODAY - timedelta(days=3))
        for earlier in (3, 4, 30):
            with pytest.raises(CannotClose, match="closed up to 2026-11-24"):
                close(migrated_engine, TODAY - timedelta(days=earlier))
        close(migrated_engine, TODAY - timedelta(days=1))

    @given(data=st.data())
    @settings(
        max_examples=25, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )  # fmt: skip
    def test_any_order_of_entries_and_closes(
        self, postgres_url, migrated_template, data
    ):
        """As a reference in plain Python has it, and as it was when it was closed."""
        steps = data.draw(st.lists(STEPS, max_size=14))
        with servers.fresh_database(postgres_url, migrated_template) as url:
            engine = connect(url)
            play(engine, steps)
            engine.dispose()


STEPS = st.one_of(
    st.tuples(st.just("funded"), st.integers(1, 10**13), st.integers(0, 60)),
    st.tuples(st.just("settled"), st.integers(1, 10**10), st.just(0)),
    st.tuples(st.just("close"), st.just(0), st.integers(1, 12)),
)


def play(engine, steps):
    """Append and close over some weeks; compare all days with the reference."""
    now, open_from = NOW - timedelta(days=90), 0
    expected, closed = defaultdict(Counter), {}
    for number, (what, amount, back) in enumerate(steps):
        now += timedelta(days=5, seconds=amount % 80_000)
        moment = int(now.timestamp())
        if what == "close":
            day = now.date() - timedelta(days=back)
            if end_of(day) <= open_from:
                with pytest.raises(CannotClose):
                    close(engine, day, now)
                continue
            open_from = end_of(day)
            closed[open_from] = close(engine, day, now).rows
            continue
        if what == "funded":
            at, cents = moment - back * DAY_SECONDS, amount % 997
            say(engine, funded(amount, cents, at, f"wire {number}"), now)
            pairs = [
                ("Treasury", "usdc", amount), ("Exchange", "usdc", -amount),
                ("Exchange", "usd", cents), ("Bank", "usd", -cents),
            ]  # fmt: skip
        else:
            at = moment
            say(engine, settled(f"0x{number:032x}", amount), now)
            pairs = [
                ("Treasury", "usdc", -amount),
                ("Paid to creators", "usdc", amount),
            ]
        for name, currency, signed in pairs:
            expected[max(at, open_from)][name, currency] += signed
    days = (end_of(NOW.date() - timedelta(days=back)) for back in range(0, 90, 11))
    for before in {*closed, *days}:
        wanted = Counter()
        for at, found in expected.items():
            if at < before:
                wanted.update(found)
        got = balance(engine, before)
        rows = {(row.account.name, row.currency): row.balance for row in got.rows}
        assert nonzero(rows) == nonzero(wanted)
        assert all(debit == credit for _, debit, credit in got.totals())
        assert before not in closed or got.rows == closed[before]
    with engine.connect() as connection:
        assert all(each.as_it_was for each in closed_periods(connection, CHART))


class TestExport:
    def test_lines_add_up_to_the_trial_balance(self, migrated_engine):
        at = int(NOW.timestamp()) - DAY_SECONDS
        say(migrated_engine, funded(5_000_000_007, 501_213, at))
        say(migrated_engine, settled("0x" + "5b" * 16, 123_457))
        sums = Counter()
        for row in lines(migrated_engine):
            assert tuple(row) == COLUMNS
            signed = row["debit"] or f"-{row['credit']}"
            sums[row["account"], row["currency"]] += int(signed.replace(".", ""))

        assert sums == {
            (row.account.number, row.currency): row.balance
            for row in balance(migrated_engine).rows
        }

    def test_days_are_whole_and_both_included(self, migrated_engine):
        first = start_of(TODAY - timedelta(days=2))
        for number, at in enumerate(
            (first - 1, first, end_of(TODAY) - 1, end_of(TODAY))
        ):
            say(migrated_engine, funded(number + 1, 0, at, f"wire {number}"))

        found = lines(migrated_engine, first, end_of(TODAY))
        assert {row["reference"] for row in found} == {"wire 1", "wire 2"}

    @pytest.mark.parametrize("reference", ["=1+1", "@SUM(A1)", "-2", "+3", "\tx"])
    def test_no_text_is_a_formula(self, migrated_engine, reference):
        say(migrated_engine, funded(3, 5, int(NOW.timestamp()), reference))

        assert {row["reference"] for row in lines(migrated_engine)} == {f"'{reference}"}

    def test_commas_quotes_and_lines_come_back(self, migrated_engine):
        odd = 'wire "4,711"\nof Chloë'
        say(migrated_engine, funded(3, 5, int(NOW.timestamp()), odd))

        assert {row["reference"] for row in lines(migrated_engine)} == {odd}


class Told(Entry):
    """Something was told."""

    __domain__ = "stall"
    amount = Uint(63)
    other = Uint(63)
    title = Text()


ONE = LedgerAccount("1", "One", AccountType.ASSET)
TWO = LedgerAccount("2", "Two", AccountType.EQUITY)
USD = Currency("usd", 2)


class TestDeclarations:
    @pytest.mark.parametrize(("change", "told"), [
        ({"amount": PurchaseSettled.amount}, "one entry of the journal"),
        ({"reference": entries.SettlementSeen.purchase}, "one entry of the journal"),
        ({"amount": Told.only(Told.amount > 5).amount + Told.other}, "one entry"),
        ({"amount": Told.title}, "no number"),
        ({"credit": ONE}, "debits and credits account 1"),
    ])  # fmt: skip
    def test_what_cannot_be_posted_is_refused(self, change, told):
        usual = {"debit": ONE, "credit": TWO, "amount": Told.amount, "currency": USD}
        Posting("usual", **usual)
        with pytest.raises(DeclarationError, match=told):
            Posting("odd", **(usual | change))

    def test_one_number_has_one_account(self):
        other = LedgerAccount("1", "Another", AccountType.ASSET)
        made = [Posting("a", ONE, TWO, Told.amount, USD),
                Posting("b", other, TWO, Told.amount, USD)]  # fmt: skip
        with pytest.raises(DeclarationError, match="account 1 is Another"):
            Registry.of([Told], postings=made)

    def test_a_deployment_has_the_postings_of_its_domains(self):
        assert postings.paid in REGISTRY.postings
        alone = Registry.load(["crowdfunding"])
        assert postings.paid not in alone.postings
        assert alone.postings
        assert alone.with_events().postings == alone.postings

    def test_a_view_narrows_what_is_posted(self, db_engine):
        many = Told.only(Told.amount > 100)
        posting = Posting("many", ONE, TWO, many.amount + many.other, USD)
        registry = Registry.of([Told, *REGISTRY.entries.values()], postings=[posting])
        migrate(db_engine, registry)
        for amount in (100, 101, 7_001):
            with db_engine.begin() as connection:
                append(connection, registry, Told(amount=amount, other=3, title="x"),
                       actor=ANNA, now=NOW)  # fmt: skip
        with db_engine.connect() as connection:
            found = read_trial_balance(connection, AccountChart([posting]), Span())
        assert [(row.account, row.balance) for row in found.rows] == [
            (ONE, 104 + 7_004), (TWO, -104 - 7_004),
        ]  # fmt: skip
