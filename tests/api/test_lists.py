"""Lists: order, closed sets, several values, counts, and every filter of facts."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from werkzeug.datastructures import MultiDict

from api.errors import Problem
from api.parameters import VALUES_MOST, read_query, usable
from db import reads
from db.declare import (
    Contract,
    Count,
    Event,
    First,
    Key,
    Projection,
    Stage,
    Uint,
)
from db.declare.times import read_time
from db.reads import facts as fact_reads
from db.reads import pages as page_reads
from db.registry import Registry
from helpers import ledger as business
from helpers import servers
from helpers.history import History
from helpers.ledger import abi_event

HEIGHT = 30


class Spending(Projection):
    """Many rows, whose beginnings are indexed."""

    payer = Key()
    kind = Key()

    first_at = First(business.Paid.block_time)
    payments = Count(business.Paid)
    word = First({business.Paid: "paid"})
    stage = Stage(
        ([""], business.Paid.only(business.Paid.amount < 50), "small"),
        ([""], business.Paid.only(business.Paid.amount >= 50), "large"),
        (["small"], business.Paid.only(business.Paid.amount >= 50), "mixed"),
    )
    index = ("first_at", "stage", "word")


REGISTRY = Registry.of(business.EVENTS, [*business.PROJECTIONS, Spending])
LIST = "/api/v1/spendings"
PAID = "/api/v1/events/ledger_paid"
STAGES = ["small", "large", "mixed", ""]


@pytest.fixture(scope="module")
def listed(postgres_url, ledger_class):
    """One chain, read to HEIGHT."""
    with servers.fresh_database(postgres_url) as url:
        found = ledger_class(url, registry=REGISTRY)
        found.write(found.register("devnet"))
        yield found
        found.close()


def pages(ledger, path, begin=None):
    """The pages of a list, each an answer; `begin`: the `next` of a page before."""
    mark = "&" if "?" in path else "?"
    for _ in range(2000):
        after = "" if begin is None else f"{mark}after={begin}"
        answer = ledger.get(f"{path}{after}").json
        yield answer
        begin = answer["next"]
        if begin is None:
            return
    raise AssertionError("the pages do not end")


def rows(ledger, path, begin=None):
    return [row for page in pages(ledger, path, begin) for row in page["data"]]


def payers(found):
    return [(row["payer"], row["kind"]) for row in found]


def parameters(ledger, path):
    document = ledger.get("/api/v1/openapi.json").json
    return {each["name"]: each for each in document["paths"][path]["get"]["parameters"]}


# Order ------------------------------------------------------------------------------


def test_rows_are_listed_newest_first(listed):
    found = rows(listed, LIST)

    times = [row["first_at"] for row in found]
    assert sorted(times, reverse=True) == times
    assert len({*payers(found)}) == len(found) > 20
    assert found == rows(listed, f"{LIST}?sort=-first_at&limit=200")
    oldest = rows(listed, f"{LIST}?sort=first_at&limit=200")
    assert sorted(payers(found)) == sorted(payers(oldest))
    assert oldest[0]["first_at"] == times[-1]


def test_rows_as_of_a_block_are_listed_by_key(listed):
    found = rows(listed, f"{LIST}?as_of=20")

    keys = [(row["payer"], int(row["kind"])) for row in found]
    assert sorted(keys) == keys
    refused = listed.get(f"{LIST}?as_of=20&sort=-first_at", 400).json
    assert "leave out as_of" in refused["detail"]


def test_rows_without_a_time_are_listed_by_key(listed):
    deals = [row["deal"] for row in rows(listed, "/api/v1/deals")]
    hours = [row["tick"] for row in rows(listed, "/api/v1/hourlies")]

    assert sorted(deals) == deals
    assert sorted(hours, reverse=True) == hours
    assert parameters(listed, LIST)["sort"]["schema"]["default"] == "-first_at"
    deal = parameters(listed, "/api/v1/deals")["sort"]["schema"]
    assert (deal["default"], "-deal" in deal["enum"]) == ("deal", True)
    assert parameters(listed, PAID)["sort"]["schema"]["default"] == "-position"


@pytest.mark.parametrize(("path", "sort"), [
    (LIST, "-first_at"), (LIST, "first_at"), (PAID, "-position"), (PAID, "position"),
])  # fmt: skip
def test_new_blocks_move_no_row_to_another_page(database_url, ledger_class, path, sort):
    ledger = ledger_class(database_url, registry=REGISTRY)
    source = ledger.register("devnet")
    ledger.write(source, last=20)
    url = f"{path}?sort={sort}&limit=4"
    before = rows(ledger, url)
    begun = ledger.get(url).json
    ledger.write(source, first=21, last=HEIGHT)

    rest = rows(ledger, url, begun["next"])

    together = [tuple(sorted(map(str, r.items()))) for r in [*begun["data"], *rest]]
    assert len({*together}) == len(together)
    names = ("payer", "kind") if path == LIST else ("position",)
    ids = [[row[n] for n in names] for row in [*begun["data"], *rest]]
    old = [[row[n] for n in names] for row in before]
    assert [each for each in ids if each in old] == old
    assert (len(ids) > len(old)) == (not sort.startswith("-"))
    ledger.close()


# Closed sets and several values -------------------------------------------------------


@pytest.mark.parametrize("given", ["opne", "small,large", "Small", "open"])
def test_an_unknown_stage_is_refused_with_its_choices(listed, given):
    refused = listed.get(f"{LIST}?stage={given}", 400).json

    assert refused["type"] == "/docs#bad_parameter"
    assert refused["parameter"] == "stage"
    assert refused["choices"] == STAGES
    assert "small, large, mixed" in refused["detail"]
    assert "repeat it: stage=small&stage=mixed" in refused["detail"]


def test_a_constant_text_is_a_closed_set(listed):
    assert listed.get(f"{LIST}?word=piad", 400).json["choices"] == ["paid"]
    assert len(rows(listed, f"{LIST}?word=paid")) == len(rows(listed, LIST))


def test_several_values_find_any_of_them(listed):
    everything = rows(listed, LIST)
    wanted = [row for row in everything if row["stage"] in ("small", "mixed")]

    found = rows(listed, f"{LIST}?stage=small&stage=mixed&limit=2")

    assert wanted == found
    assert 0 < len(found) < len(everything)
    one = rows(listed, f"{LIST}?stage=small")
    assert [row for row in everything if row["stage"] == "small"] == one
    assert one == rows(listed, f"{LIST}?stage=small&stage=small")
    two = sorted({row["payer"] for row in everything})[:2]
    query = "&".join(f"payer={each}" for each in two)
    by_key = rows(listed, f"{LIST}?{query}")
    assert [row for row in everything if row["payer"] in two] == by_key
    past = rows(listed, f"{LIST}?{query}&as_of=20")
    assert {row["payer"] for row in past} == {*two}


@pytest.mark.parametrize("query", [
    "limit=1&limit=2", "first_at__gte=1&first_at__gte=2", "sort=payer&sort=-payer",
    "count=true&count=true",
])  # fmt: skip
def test_what_has_one_value_is_given_once(listed, query):
    assert "give it once" in listed.get(f"{LIST}?{query}", 400).json["detail"]


def test_values_are_not_without_number(listed):
    few = "&".join(["stage=small"] * VALUES_MOST)
    listed.get(f"{LIST}?{few}")
    refused = listed.get(f"{LIST}?{few}&stage=large", 400).json
    assert f"{VALUES_MOST} at most" in refused["detail"]


def test_a_cursor_of_one_value_is_not_one_of_several(listed):
    cursor = listed.get(f"{LIST}?stage=small&limit=1").json["next"]

    other = f"{LIST}?stage=small&stage=large&limit=1&after={cursor}"
    assert listed.get(other, 400).json["type"] == "/docs#bad_cursor"


def test_the_document_has_choices_and_lists(listed):
    schema = parameters(listed, LIST)["stage"]["schema"]

    assert schema["type"] == "array"
    assert schema["items"]["enum"] == STAGES
    shown = listed.get("/api/v1/openapi.json").json["components"]["schemas"]
    assert shown["Spending"]["properties"]["stage"]["enum"] == STAGES
    assert shown["Spending"]["properties"]["word"]["enum"] == ["paid", None]
    assert {"stage__gte", "word__lte"}.isdisjoint(parameters(listed, LIST))
    assert "first_at__gte" in parameters(listed, LIST)


# Counts -----------------------------------------------------------------------------


@pytest.mark.parametrize("query", [
    "stage=small", "as_of=12", "first_at__gte=1700000020", "as_of=0", "limit=200", "",
])  # fmt: skip
def test_rows_are_counted_on_every_page(listed, query):
    path = f"{LIST}?{query}"
    expected = {"rows": len(rows(listed, path)), "exact": True}

    counts = [page["count"] for page in pages(listed, f"{path}&count=true")]

    assert {(c["rows"], c["exact"]) for c in counts} == {tuple(expected.values())}
    assert "count" not in listed.get(path).json
    assert "count" not in listed.get(f"{path}&count=false").json


def test_facts_are_counted(listed):
    path = f"{PAID}?since=1700000010&until=1700000040"

    counts = {page["count"]["rows"] for page in pages(listed, f"{path}&count=true")}

    assert counts == {len(rows(listed, path))}


def test_counting_ends_somewhere(listed, monkeypatch):
    monkeypatch.setattr(page_reads, "COUNT_MOST", 5)

    many = listed.get(f"{LIST}?count=true").json["count"]
    none = listed.get(f"{LIST}?count=true&first_at__lte=5").json["count"]

    assert many == {"rows": 5, "exact": False}
    assert none == {"rows": 0, "exact": True}


def test_a_count_is_true_or_false(listed):
    refused = listed.get(f"{LIST}?count=yes", 400).json
    assert "not true or false" in refused["detail"]


# Facts: time, and every parameter -----------------------------------------------------

FIRST = 1_700_000_000


def second(text):
    return read_time("time", text)


def told(second, zone=UTC):
    return datetime.fromtimestamp(FIRST + second, zone).isoformat().replace("+", "%2B")


@pytest.mark.parametrize(("since", "until"), [
    (20, 40), (20, 21), (0, 10_000), (-10**6, 20), (41, 10**6), (60, 61), (30, 20),
    (19, 19),
])  # fmt: skip
@pytest.mark.parametrize("sort", ["position", "-position"])
def test_facts_of_a_range_of_time(listed, since, until, sort):
    everything = rows(listed, f"{PAID}?sort={sort}")
    first, end = FIRST + since, FIRST + until

    found = rows(listed, f"{PAID}?sort={sort}&since={first}&until={end}")

    wanted = [row for row in everything if first <= second(row["block_time"]) < end]
    assert wanted == found
    east = timezone(timedelta(hours=3))
    told_so = f"since={told(since)}&until={told(until, east)}"
    assert wanted == rows(listed, f"{PAID}?sort={sort}&{told_so}")


def test_forms_of_time(listed):
    everything = rows(listed, PAID)

    assert everything == rows(listed, f"{PAID}?since=2023-11-14")
    assert rows(listed, f"{PAID}?since=2023-11-15") == []
    assert everything == rows(listed, f"{PAID}?since=2023-11-14T22:13:20Z")
    later = rows(listed, f"{PAID}?since={FIRST + 47}")
    assert later == rows(listed, f"{PAID}?since=2023-11-14T22:14:06.5Z")
    assert later != rows(listed, f"{PAID}?since=2023-11-14T22:14:06Z")
    for given in (
        "yesterday", "", "2023-11-14T22:13:20", "2023-13-01", "1e9", "-5",
        "2023-11-14T22:13:20+00:00",  # a plus that became a space
    ):  # fmt: skip
        refused = listed.get(f"{PAID}?since={given}", 400).json
        assert refused["parameter"] == "since"
        assert "2026-01-31T12:00:00Z" in refused["detail"]


def test_times_of_rows_are_asked_for_in_the_same_forms(listed):
    everything = rows(listed, LIST)
    middle = everything[len(everything) // 2]["first_at"]
    moment = told(second(middle) - FIRST, timezone(timedelta(hours=3)))

    for comparison, wanted in (
        ("__gte", [row for row in everything if row["first_at"] >= middle]),
        ("__lte", [row for row in everything if row["first_at"] <= middle]),
        ("", [row for row in everything if row["first_at"] == middle]),
    ):
        assert wanted == rows(listed, f"{LIST}?first_at{comparison}={moment}")
        assert wanted == rows(listed, f"{LIST}?first_at{comparison}={middle}")
        stamp = f"first_at{comparison}={second(middle)}"
        assert wanted == rows(listed, f"{LIST}?{stamp}")
        assert len(wanted) == len(rows(listed, f"{LIST}?{stamp}&units=raw"))
    several = f"{LIST}?first_at={moment}&first_at={everything[0]['first_at']}"
    assert {row["first_at"] for row in rows(listed, several)} == {
        middle, everything[0]["first_at"]
    }  # fmt: skip
    refused = listed.get(f"{LIST}?first_at__lte=2026-01-31T00:00:00.5Z", 400).json
    assert "first_at__lte" in refused["detail"]
    assert "leave it out" in refused["detail"]
    assert listed.get(f"{LIST}?first_at__gte=soon", 400).json["parameter"] == (
        "first_at__gte"
    )
    assert "RFC 3339" in parameters(listed, LIST)["first_at__gte"]["description"]
    hours = rows(listed, f"/api/v1/hourlies?tick={told(20)}")
    assert {second(row["tick"]) for row in hours} == {FIRST + 20}


def test_a_clock_that_goes_back_hides_no_fact(database_url, ledger_class):
    history = History.of(5, HEIGHT)
    for height, found in history.facts.items():
        back = 1000 if height % 3 == 0 else 0
        for n, fact in enumerate(found):
            found[n] = type(fact)(
                fact.event, fact.position, fact.block_time - back, fact.transaction,
                fact.values,
            )  # fmt: skip
    ledger = ledger_class(database_url, registry=REGISTRY)
    ledger.write(ledger.register("devnet"), history)
    everything = rows(ledger, f"{PAID}?limit=200")

    for since, until in itertools.product((-990, -970, 0, 20, 31), (-970, 30, 50)):
        first, end = FIRST + since, FIRST + until
        found = rows(ledger, f"{PAID}?since={first}&until={end}&limit=200")
        wanted = [row for row in everything if first <= second(row["block_time"]) < end]
        assert wanted == found
    ledger.close()


@pytest.mark.parametrize("event", business.EVENTS, ids=lambda e: e.spec.name)
@pytest.mark.parametrize("most", [2, 7, 20_000])
def test_facts_are_filtered_by_every_value(listed, event, most, monkeypatch):
    monkeypatch.setattr(fact_reads, "SCAN_MOST", most)
    path = f"/api/v1/events/{event.spec.table}"
    everything = rows(listed, path)
    fields = [*event.spec.fields, "transaction"]

    for name, sort in itertools.product(fields, ("position", "-position")):
        value = everything[len(everything) // 2][name]
        shown = {True: "true", False: "false"}.get(value, value)
        given = {"limit": 2, "sort": sort, name: shown}
        answer = ledger_pages(listed, path, given)
        wanted = [row for row in everything if row[name] == value]
        if sort == "position":
            wanted.reverse()
        assert wanted == [row for page in answer for row in page["data"]], name
        assert all(len(page["data"]) <= 2 for page in answer)
        for page in answer:
            if "scan" in page:
                assert page["scan"]["facts_max"] == most
                assert not (page["scan"]["stopped"] and page["next"] is None)


def ledger_pages(ledger, path, given):
    """The pages of a query whose values need to be written for a URL."""
    found, after = [], {}
    for _ in range(2000):
        answer = ledger.client.get(path, query_string={**given, **after})
        assert answer.status_code == 200, answer.text
        found.append(answer.json)
        if answer.json["next"] is None:
            return found
        after = {"after": answer.json["next"]}
    raise AssertionError("the pages do not end")


def test_a_page_says_where_it_stopped_looking(listed, monkeypatch):
    monkeypatch.setattr(fact_reads, "SCAN_MOST", 5)
    everything = rows(listed, PAID)
    value = everything[-1]["kind"]  # the oldest: the first pages have none

    found = list(pages(listed, f"{PAID}?kind={value}&limit=2"))

    assert found[0]["data"] == []
    assert found[0]["scan"] == {"facts_max": 5, "stopped": True}
    assert found[-1]["scan"]["stopped"] is False
    assert len(found) in range(len(everything) // 5, len(everything) // 5 + 3)
    indexed = listed.get(f"{PAID}?deal={everything[0]['deal']}").json
    assert "scan" not in indexed


def test_numbers_of_facts_have_ranges_and_several_values(listed):
    everything = rows(listed, PAID)

    found = rows(listed, f"{PAID}?kind__gte=50&kind__lte=200")
    some = sorted({row["kind"] for row in everything})[:3]
    several = rows(listed, f"{PAID}?{'&'.join(f'kind={each}' for each in some)}")

    assert [r for r in everything if 50 <= int(r["kind"]) <= 200] == found
    assert [row for row in everything if row["kind"] in some] == several
    assert 0 < len(several) < len(everything)


def test_what_has_no_index_is_not_counted(listed):
    refused = listed.get(f"{PAID}?kind=3&count=true", 400).json

    assert refused["type"] == "/docs#bad_query"
    assert "leave out count, or kind" in refused["detail"]


def test_the_document_says_what_has_no_index(listed):
    found = parameters(listed, PAID)

    assert {"deal", "payer", "amount", "kind", "transaction", "since"} <= {*found}
    assert "no index" in found["kind"]["description"]
    assert "no index" in found["transaction"]["description"]
    assert "no index" not in found["deal"]["description"]
    assert "no index" not in found["since"]["description"]
    assert "RFC 3339" in found["since"]["description"]
    page = listed.get("/api/v1/openapi.json").json["components"]["schemas"]
    assert {"count", "scan"} <= {*page["ledger_paid_page"]["properties"]}


# Slashes ----------------------------------------------------------------------------


def test_a_slash_behind_a_path_is_no_other_path(listed):
    deal = listed.data("/api/v1/deals")[0]["deal"]

    for path in (
        "/api/v1/deals", f"/api/v1/deals/{deal}", PAID, "/api/v1/chains", "/docs",
        "/health/live",
    ):  # fmt: skip
        assert listed.get(f"{path}/").data == listed.get(path).data
    assert listed.get("/api/v1").data == listed.get("/api/v1/").data
    assert listed.client.post("/api/v1/deals/", json={}).status_code == 405


# Names ------------------------------------------------------------------------------

odd = Contract("Odd", abi=[abi_event("Offered", until="uint64", limit="uint8")])


class Offered(Event):
    """An event whose fields are named as parameters are."""

    source = odd
    until = Uint(64)
    limit = Uint(8)


def test_a_field_that_is_named_as_a_parameter_is_filtered_all_the_same():
    filters = usable(reads.fact_filters(Offered, []))
    given = MultiDict({"until_": "5", "until": "2026-01-01", "limit_": "3"})

    found = read_query(given, filters=filters, sorts=["position"]).where

    assert found == {"until": 5, "block_time__lt": 1_767_225_600, "limit": 3}
    refused = {"until": "x", "until_": "x", "limit": "x", "limit_": "x"}
    for name, value in refused.items():
        with pytest.raises(Problem) as caught:
            read_query(MultiDict({name: value}), filters=filters, sorts=["position"])
        assert caught.value.extensions["parameter"] == name


def test_a_number_beyond_its_column_is_found_nowhere(listed):
    few = rows(listed, f"{LIST}?kind=3")

    assert few == rows(listed, f"{LIST}?kind=3&kind={10**30}")
    assert rows(listed, f"{PAID}?kind={10**30}&kind={10**60}") == []
    assert rows(listed, f"{PAID}?amount={10**90}&amount={10**99}") == []
