"""Values with a meaning in the views and over HTTP, whatever a contract says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote

import pytest
from hypothesis import given, strategies
from sqlalchemy import create_engine, literal, select, text

from db.declare import (
    Duration,
    Event,
    Key,
    Money,
    Projection,
    Share,
    Sum,
    Time,
    Uint,
)
from db.declare.events import EventMeta
from db.reads import row_version
from db.reads.tables import ReadTables
from db.schema import migrate
from db.sql.meanings import meant_text
from helpers import pledges, servers
from helpers.history import rounds
from helpers.pledges import HOSTILE_FACTS, REGISTRY, Pledge, Pledged, code, pledged

GOOD = [
    pledged(20 + each, amount=(5000 + each) * 10**18 + 5 * 10**17, fee=100 * each)
    for each in range(9)
]  # fmt: skip
FACTS = [*HOSTILE_FACTS, *GOOD]
PLEDGES, METHODS = "/api/v1/pledges", "/api/v1/methods"
SAID = "/api/v1/events/pledges_pledged"
SORTS = ["amount", "fee", "opens", "runs", "method", "total"]


@pytest.fixture(scope="module")
def fund(postgres_url, ledger_class):
    """One chain with good pledges and hostile ones."""
    with servers.fresh_database(postgres_url) as url:
        found = ledger_class(url, registry=REGISTRY)
        history = pledges.history_of(*FACTS)
        found.write(found.register("devnet"), history, last=history.height)
        yield found
        found.close()


@pytest.fixture(scope="module")
def connection(postgres_url):
    """A migrated database without facts, for its functions."""
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, REGISTRY)
        with engine.connect() as found:
            yield found
        engine.dispose()


def listed(fund, path):
    mark, after, found = "&" if "?" in path else "?", "", []
    while after is not None:
        page = fund.get(f"{path}{mark}limit=3{after and f'&after={after}'}").json
        found += page["data"]
        after = page["next"]
    return found


def rows_of(fund, statement):
    with fund.writer.connect() as connection:
        return list(connection.execute(text(statement)).mappings())


# One form in SQL and in Python ------------------------------------------------------

MEANINGS = [
    Money(18, "ETB"), Money(0, "JPY"), Money(77, "T"), Share(10_000), Time(),
    Duration(),
]  # fmt: skip
EDGES = [
    0, 1, -1, 86_399, 86_400, 253_402_300_799, 253_402_300_800, -62_135_596_800,
    -62_135_596_801, 9_224_318_015_999, 9_224_318_016_000, 185_542_587_187_199,
    2**63, 2**64 - 1, 2**256 - 1, -(2**255), 10**200,
]  # fmt: skip
INTEGERS = strategies.integers(-(2**270), 2**270) | strategies.sampled_from(EDGES)


@rounds(300)
@given(INTEGERS, strategies.sampled_from(MEANINGS))
def test_postgres_writes_what_python_writes(connection, value, meaning):
    shown = meant_text(meaning, literal(Decimal(value)))
    assert connection.execute(select(shown)).scalar() == meaning.text(value)


@rounds(300)
@given(strategies.binary(min_size=0, max_size=32))
def test_postgres_writes_codes_as_python_does(connection, value):
    given = value.ljust(32, b"\0")
    shown = meant_text(Pledged.spec.fields["method"].meaning, literal(given))
    found = connection.execute(select(shown)).scalar()
    assert found == Pledged.spec.fields["method"].shown(given)


@pytest.mark.parametrize("value", EDGES)
def test_views_have_a_time_and_an_interval_for_every_integer(connection, value):
    statement = text(
        "SELECT control.moment(cast(:v AS numeric))::text,"
        " control.time_span(cast(:v AS numeric))::text"
    )
    moment, span = connection.execute(statement, {"v": value}).one()
    if -62_135_596_800 <= value <= 253_402_300_799:
        assert moment.startswith(f"{Time().text(value)[:10]}")
    assert moment
    assert span


def test_no_value_stays_no_value(connection):
    names = ("time_text", "moment", "duration_text", "time_span", "code_text")
    for name in names:
        assert connection.scalar(text(f"SELECT control.{name}(NULL)")) is None


# Views ------------------------------------------------------------------------------


def test_the_views_have_types_and_one_row_breaks_none_of_them(fund):
    for view in ("pledges", "methods", "pledges_pledged"):
        names = rows_of(
            fund,
            "SELECT column_name AS name, data_type AS type FROM"
            f" information_schema.columns WHERE table_name = '{view}'"
            " AND table_schema = 'public'",
        )
        texts = ", ".join(f'"{each["name"]}"::text' for each in names)
        assert rows_of(fund, f"SELECT {texts} FROM public.{view}")
    types = {
        each["name"]: each["type"]
        for each in rows_of(
            fund,
            "SELECT column_name AS name, data_type AS type FROM information_schema"
            ".columns WHERE table_name = 'pledges' AND table_schema = 'public'",
        )
    }
    assert {types[name] for name in ("amount", "fee", "owed", "part")} == {"numeric"}
    assert types["opens"] == types["closes"] == "timestamp with time zone"
    assert types["runs"] == "interval"
    assert types["method"] == types["page"] == "text"


def test_the_views_have_the_values_that_people_read(fund):
    (row,) = rows_of(fund, "SELECT * FROM public.pledges WHERE pledge = 23")

    assert row["amount"] == Decimal("5003.5")
    assert str(row["amount"]) == "5003.5"
    assert row["fee"] == Decimal("0.03")
    assert row["part"] == Decimal("150.105")
    assert row["opens"] == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert row["closes"] - row["opens"] == row["runs"] == timedelta(days=90)
    assert row["method"] == "telebirr"
    (hostile,) = rows_of(
        fund,
        "SELECT amount::text, opens::text, runs::text FROM public.pledges"
        " WHERE pledge = 2",
    )
    assert hostile["amount"] == Money(18, "ETB").text(2**256 - 1)
    assert (hostile["opens"], hostile["runs"]) == ("infinity", "178000000 years")


def test_comments_say_the_unit(fund):
    comments = {
        each["name"]: each["said"]
        for each in rows_of(
            fund,
            "SELECT attname AS name, col_description(attrelid, attnum) AS said"
            " FROM pg_attribute WHERE attrelid = 'public.pledges'::regclass"
            " AND attnum > 0",
        )
    }
    assert "An amount in ETB." in comments["amount"]
    assert "An amount in ETB." in comments["owed"]
    assert "A time." in comments["closes"]


# Over HTTP --------------------------------------------------------------------------


def test_rows_have_one_form_each(fund):
    row = fund.data(f"{PLEDGES}/23")

    assert row == {
        "pledge": "23", "amount": "5003.5", "total": "5003.5", "fee": "0.03",
        "opens": "2026-01-31T12:00:00Z", "runs": "P90D", "method": "telebirr",
        "page": "ipfs://a/1", "closes": "2026-05-01T12:00:00Z",
        "earlier": "2025-08-04T12:00:00Z", "owed": "-10007", "part": "150.105",
        "said": {
            "amount": 5003 * 10**18 + 5 * 10**17, "opens": 1_769_860_800,
            "method": "0x" + code("telebirr").hex(),
        },
    }  # fmt: skip
    assert row == fund.data(f"{PLEDGES}/23?as_of=23")
    hostile = fund.data(f"{PLEDGES}/2")
    assert hostile["opens"] == str(2**256 - 1)
    assert fund.data(f"{PLEDGES}/3")["method"] == "0x" + "ff" * 32


def test_raw_rows_are_as_they_are_stored(fund):
    row = fund.data(f"{PLEDGES}/23?units=raw")

    assert row["amount"] == str(5003 * 10**18 + 5 * 10**17)
    assert (row["fee"], row["opens"], row["runs"]) == ("300", "1769860800", "7776000")
    assert row["method"] == "0x" + code("telebirr").hex()
    assert fund.data(f"{SAID}?pledge=23&units=raw")[0]["runs"] == "7776000"


@pytest.mark.parametrize("units", ["", "&units=raw"])
@pytest.mark.parametrize("sort", [*SORTS, *(f"-{each}" for each in SORTS)])
def test_pages_in_any_order_have_every_row_once(fund, sort, units):
    found = listed(fund, f"{PLEDGES}?sort={sort}{units}")

    assert sorted(int(row["pledge"]) for row in found) == sorted(
        each["pledge"] for each in FACTS
    )
    name = sort.removeprefix("-")
    stored = {each["pledge"]: each for each in FACTS}
    name = {"total": "amount"}.get(name, name)
    values = [stored[int(row["pledge"])][name] for row in found]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_facts_and_keys_with_a_meaning_page_too(fund):
    assert len(listed(fund, f"{SAID}?sort=position")) == len(FACTS)
    assert len(listed(fund, METHODS)) == len({each["method"] for each in FACTS})
    assert fund.data(f"{METHODS}/telebirr")["method"] == "telebirr"
    raw = "0x" + code("telebirr").hex()
    assert fund.data(f"{METHODS}/{raw}?units=raw")["method"] == raw
    assert fund.data(f"{METHODS}/{raw}")["method"] == "telebirr"


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("amount=5003.50", [23]), ("amount__gte=5007&amount__lte=5008.5", [27, 28]),
        ("fee=3 %&amount=5003.5", [23]), ("fee=0.03&amount=5003.5", [23]),
        ("method=0x12", None),
        ("amount=5000.5&units=raw", None), (f"opens__gte={10**13}", None),
        ("opens=2026-01-31T14:00:00+02:00&fee=0.07", [27]), ("runs=1 day", []),
        ("runs=90 days&fee=0.05", [25]), ("runs=P90D&fee=0.05", [25]),
        ("opens__lte=2026-01-31&opens__gte=1970-01-01", [13]),
        ("method=telebirr&fee=0.02", [22]), ("amount=5,000", None),
        (f"amount={5003 * 10**18 + 5 * 10**17}&units=raw", [23]),
        ("runs=7776000&fee=200&units=raw", [22]),
    ],
)  # fmt: skip
def test_filters_take_the_same_forms(fund, query, numbers):
    path = f"{PLEDGES}?{quote(query, safe='=&')}"
    if numbers is None:
        problem = fund.get(path, 400).json
        assert problem["type"] == "/docs#bad_parameter"
        return
    assert [int(row["pledge"]) for row in listed(fund, path)] == numbers
    facts = fund.data(f"{SAID}?{quote(query, safe='=&')}&limit=20")
    assert sorted(int(row["pledge"]) for row in facts) == numbers


def test_a_cursor_belongs_to_the_units_it_was_given_in(fund):
    following = fund.get(f"{PLEDGES}?sort=amount").json["next"]

    problem = fund.get(f"{PLEDGES}?sort=amount&units=raw&after={following}", 400).json
    assert problem["type"] == "/docs#bad_cursor"


def test_units_are_raw_or_nothing(fund):
    assert fund.get(f"{PLEDGES}?units=wei", 400).json["choices"] == ["raw"]


def test_the_document_says_unit_and_format(fund):
    document = fund.get("/api/v1/openapi.json").json
    columns = document["components"]["schemas"]["Pledge"]["properties"]

    assert columns["amount"]["symbol"] == "ETB"
    assert columns["amount"]["description"] == (
        "An amount in ETB. First(Pledged.amount)"
    )
    assert columns["amount"]["decimals"] == 18
    assert columns["fee"]["decimals"] == 4
    assert columns["opens"]["format"] == "date-time"
    assert columns["runs"]["format"] == "duration"
    assert columns["page"]["format"] == "uri"
    assert "an amount in ETB" in fund.get("/docs").text


def test_rules_and_reactions_read_what_is_stored(fund):
    with fund.writer.connect() as connection:
        tables = ReadTables(connection, 1, plan=None)
        row = tables.row(Pledge, pledge=23)
        rows = tables.rows(Pledge, method=code("telebirr"), amount=row.amount)

    assert row.amount == 5003 * 10**18 + 5 * 10**17
    assert (row.fee, row.opens, row.runs) == (300, 1_769_860_800, 90 * 86_400)
    assert (row.method, row.closes) == (code("telebirr"), row.opens + row.runs)
    assert row.said["amount"] == row.amount
    assert [each.pledge for each in rows] == [23]


def test_a_client_asks_again_when_a_value_means_something_else():
    """Its form stays an amount, and its rows stay the same: only the tag can tell."""
    other = pledges_in(Money(6, "ETB"))
    same = pledges_in(Money(18, "ETB", most=5))

    assert other.spec.fingerprint() == same.spec.fingerprint()
    assert row_version(other.spec) != row_version(same.spec)
    assert row_version(pledges_in(Money(18, "ETB")).spec) == row_version(same.spec)


def pledges_in(money):
    """A projection whose amount has this meaning."""
    said = {
        "source": pledges.fund, "__doc__": "One.", "__module__": pledges.__name__,
        "name": "Pledged", "pledge": Uint(), "amount": Uint(meaning=money),
    }  # fmt: skip
    event = EventMeta("Promised", (Event,), said)
    body = {"pledge": Key(), "amount": Sum(event.amount), "__doc__": "One."}
    return type("Promise", (Projection,), body | {"__module__": pledges.__name__})
