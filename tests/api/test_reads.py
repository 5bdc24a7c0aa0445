"""Every route that reads: answers, pages, blocks, and every way to be refused."""

import pytest
from sqlalchemy import text

from db.declare import Replay
from helpers import ledger as business
from helpers import reference
from helpers.history import ADDRESSES, History
from helpers.tables import streams

PROJECTIONS = [p.spec for p in business.PROJECTIONS]
NOBODY = "0x" + "00" * 20


def pages(ledger, path):
    """Every row of a list."""
    found, url = [], path
    for _ in range(500):
        answer = ledger.get(url).json
        found += answer["data"]
        if answer["next"] is None:
            return found
        url = f"{path}{'&' if '?' in path else '?'}after={answer['next']}"
    raise AssertionError("the pages do not end")


def problem(answer, name):
    """The problem of an answer, after checking its form."""
    assert answer.mimetype == "application/problem+json"
    content = answer.json
    assert content["type"] == f"/docs#{name}"
    assert content["status"] == answer.status_code
    assert content["title"]
    assert content["detail"].endswith(".")
    assert "SELECT" not in answer.text
    return content


def plain(row, spec):
    """A row of the reference, in the form of the API as far as equality goes."""

    def shown(value):
        return "0x" + value.hex() if isinstance(value, bytes) else value

    return {name: shown(value) for name, value in row.items()}


def same(expected, shown):
    """Integers are text when they are wide, or times."""
    if expected == shown:
        return True
    if type(expected) is not int:
        return False
    return shown in (str(expected), moment(expected))


def moment(value):
    """A time as JSON has it; of any other integer nothing."""
    return reference.moment(value) if 0 <= value < 2**34 else None


def shown_key(part):
    """A part of a key as JSON has it: integers there are beginnings of buckets."""
    if isinstance(part, int):
        return reference.moment(part)
    return "0x" + part.hex() if isinstance(part, bytes) else part


@pytest.mark.parametrize("spec", PROJECTIONS, ids=lambda s: s.plural)
@pytest.mark.parametrize("as_of", [None, 0, 17])
def test_lists_are_the_reference(ledger, history, spec, as_of):
    projection = next(p for p in business.PROJECTIONS if p.spec is spec)
    path = f"/api/v1/{spec.plural}" + ("" if as_of is None else f"?as_of={as_of}")

    found = pages(ledger, path)

    expected = reference.fold(projection, history.all_facts(), as_of=as_of)
    by_key = {tuple(row[key] for key in spec.keys): row for row in found}
    assert {tuple(shown_key(part) for part in key) for key in expected} == set(by_key)
    assert len(found) == len(by_key)
    for key, row in expected.items():
        shown = by_key[tuple(shown_key(part) for part in key)]
        row = plain(row, spec)
        assert {*row, *spec.keys} == set(shown)
        assert all(same(row[name], shown[name]) for name in row), (row, shown)


@pytest.mark.parametrize("event", business.EVENTS, ids=lambda e: e.spec.name)
def test_facts_are_the_chain_s(ledger, history, event):
    path = f"/api/v1/events/{event.spec.table}"
    found = pages(ledger, f"{path}?sort=position")

    positions = [str(f.position) for f in history.all_facts() if f.event is event]
    assert positions == [row["position"] for row in found]
    assert found[::-1] == pages(ledger, path)  # the newest first
    assert found[0]["transaction"].startswith("0x")


def test_one_row_by_its_keys(ledger):
    for row in pages(ledger, "/api/v1/stakes"):
        answer = ledger.get(f"/api/v1/stakes/{row['deal']}/{row['payer']}").json
        assert row == answer["data"]
        assert answer["block"]["height"] == 30
        upper = f"0x{row['deal'][2:].upper()}"
        assert row == ledger.data(f"/api/v1/stakes/{upper}/{row['payer']}")


def test_the_block_of_an_answer(ledger, history):
    answer = ledger.get("/api/v1/deals").json

    header = history.header(30)
    assert answer["block"] == {
        "chain": "devnet",
        "height": 30,
        "hash": "0x" + header.hash.hex(),
        "time": reference.moment(header.time),
        "final": False,
        "exact": True,
    }
    past = ledger.get("/api/v1/deals?as_of=12").json["block"]
    assert past["height"] == 12
    assert past["hash"] == "0x" + history.hash(12).hex()


def test_limit_sort_and_filter(ledger):
    deals = pages(ledger, "/api/v1/deals")
    raised = [int(row["raised"]) for row in deals]

    assert len(ledger.data("/api/v1/deals")) == 3
    assert len(ledger.data("/api/v1/deals?limit=2")) == 2
    down = pages(ledger, "/api/v1/deals?sort=-raised&limit=1")
    assert sorted(raised, reverse=True) == [int(row["raised"]) for row in down]
    middle = sorted(raised)[2]
    found = pages(ledger, f"/api/v1/deals?raised__gte={middle}")
    assert len([value for value in raised if value >= middle]) == len(found)
    wanted = "0x" + ADDRESSES[0].hex()
    stakes = pages(ledger, f"/api/v1/stakes?deal={wanted}&as_of=20&limit=1")
    assert {wanted} == {row["deal"] for row in stakes}


def test_values_have_their_forms(ledger):
    deal = next(row for row in pages(ledger, "/api/v1/deals") if row["payments"])
    fact = ledger.data("/api/v1/events/ledger_paid")[0]

    assert isinstance(deal["raised"], str)
    assert isinstance(deal["payments"], int)
    assert deal["last_paid_at"].startswith("2023-11-14T22:1")
    assert isinstance(deal["reached"], bool | None)
    assert isinstance(fact["height"], int)
    assert isinstance(fact["position"], str)
    assert any(
        int(row["raised"]) >= 2**256 - 1 for row in pages(ledger, "/api/v1/deals")
    )


def test_hidden_columns_are_not_shown(ledger):
    for spec in PROJECTIONS:
        for row in ledger.data(f"/api/v1/{spec.plural}"):
            hidden = {
                f"{name}_at"
                for name, fold in spec.folds.items()
                if fold.replayed or isinstance(fold, Replay)
            }
            assert not {"source", *hidden} & set(row)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "bad_parameter"),
        ("limit=201", "bad_parameter"),
        ("limit=x", "bad_parameter"),
        ("limit=1&limit=2", "bad_parameter"),
        ("as_of=x", "bad_parameter"),
        ("as_of=-1", "bad_parameter"),
        ("as_of=", "bad_parameter"),
        ("as_of=9999999999", "bad_parameter"),
        ("sort=title", "bad_parameter"),
        ("sort=", "bad_parameter"),
        ("deal=0x12", "bad_parameter"),
        ("deal=%00", "bad_request"),
        ("raised__gte=1e3", "bad_parameter"),
        ("raised__gt=3", "unknown_parameter"),
        ("titel=x", "unknown_parameter"),
        ("raised=1&as_of=5", "bad_query"),
        ("sort=raised&as_of=5", "bad_query"),
        ("after=x", "bad_cursor"),
        ("after=", "bad_cursor"),
        ("after=W10", "bad_cursor"),
        ("chain=mainnet", "unknown_chain"),
        ("chain=", "unknown_chain"),
    ],
)
def test_a_question_that_is_not_understood(ledger, query, name):
    problem(ledger.get(f"/api/v1/deals?{query}", 400), name)


def test_the_remedy_is_named(ledger):
    misspelt = problem(ledger.get("/api/v1/deals?rasied=1", 400), "unknown_parameter")
    assert "raised" in misspelt["choices"]
    assert "Did you mean raised?" in misspelt["detail"]
    assert misspelt["parameter"] == "rasied"
    cursor = ledger.get("/api/v1/deals?limit=1").json["next"]
    other = ledger.get(f"/api/v1/deals?limit=1&sort=-deal&after={cursor}", 400)
    assert "without `after`" in problem(other, "bad_cursor")["detail"]
    chain = problem(ledger.get("/api/v1/deals?chain=x", 400), "unknown_chain")
    assert chain["choices"] == ["devnet"]


def test_what_is_not_there(ledger):
    missing = problem(ledger.get(f"/api/v1/deals/{NOBODY}", 404), "no_such_row")
    assert missing["block"]["height"] == 30
    early = ledger.get(f"/api/v1/deals/{NOBODY}?as_of=0", 404)
    assert problem(early, "no_such_row")["block"]["height"] == 0
    problem(ledger.get("/api/v1/dealz", 404), "not_found")
    problem(ledger.get("/nowhere", 404), "not_found")
    problem(ledger.get("/api/v1/deals/0x12", 400), "bad_parameter")
    problem(ledger.get(f"/api/v1/deals/{NOBODY}?limit=3", 400), "unknown_parameter")
    problem(ledger.get(f"/api/v1/stakes/{NOBODY}", 404), "not_found")


def test_other_methods_are_refused(ledger):
    answer = ledger.client.post("/api/v1/deals", json={})

    problem(answer, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_a_block_above_the_checkpoint(ledger):
    for path in ("deals", f"deals/{NOBODY}", "events/ledger_paid"):
        refused = problem(
            ledger.get(f"/api/v1/{path}?as_of=31", 422), "not_yet_indexed"
        )
        assert refused["checkpoint"] == 30


class TestETags:
    def test_the_same_answer_is_not_sent_again(self, ledger):
        for path in ("deals", "deals?as_of=4", "events/ledger_paid?sort=-position"):
            first = ledger.get(f"/api/v1/{path}")
            tag = first.headers["ETag"]
            for sent in (tag, f"W/{tag}", f'"other", {tag}'):
                again = ledger.get(
                    f"/api/v1/{path}", 304, headers={"If-None-Match": sent}
                )
                assert again.data == b""
                assert again.headers["ETag"] == tag
        row = ledger.data("/api/v1/deals")[0]
        one = ledger.get(f"/api/v1/deals/{row['deal']}")
        ledger.get(
            f"/api/v1/deals/{row['deal']}",
            304,
            headers={"If-None-Match": one.headers["ETag"]},
        )

    def test_another_question_has_another_tag(self, ledger):
        paths = ["deals", "deals?limit=1", "deals?limit=2", "deals?as_of=4", "stakes"]
        tags = {ledger.get(f"/api/v1/{p}").headers["ETag"] for p in paths}
        assert len(tags) == len(paths)

    def test_a_new_block_is_a_new_answer(self, own_ledger, history):
        source = own_ledger.register("devnet")
        own_ledger.write(source, last=10)
        old = own_ledger.get("/api/v1/deals").headers["ETag"]
        own_ledger.write(source, first=11, last=12)

        new = own_ledger.get("/api/v1/deals", headers={"If-None-Match": old})

        assert new.json["block"]["height"] == 12
        assert new.headers["ETag"] != old

    def test_an_inexact_answer_has_none(self, own_ledger):
        source = own_ledger.register("devnet")
        own_ledger.write(source, last=10)
        own_ledger.write(source, first=15, last=20)

        answer = own_ledger.get("/api/v1/deals")

        assert answer.json["block"]["exact"] is False
        assert "ETag" not in answer.headers
        assert "ETag" in own_ledger.get("/api/v1/deals?as_of=10").headers

    def test_a_rebuilt_table_is_a_new_answer(self, own_ledger):
        own_ledger.write(own_ledger.register("devnet"))
        old = own_ledger.get("/api/v1/deals").headers["ETag"]
        with own_ledger.writer.begin() as connection:
            connection.execute(text("UPDATE control.declaration SET built_at = now()"))

        own_ledger.get("/api/v1/deals", headers={"If-None-Match": old})


class TestSeveralChains:
    def test_the_chain_must_be_named(self, own_ledger):
        own_ledger.write(own_ledger.register("one"))
        assert own_ledger.get("/api/v1/deals").json["block"]["chain"] == "one"
        own_ledger.write(own_ledger.register("two"), History.of(9, 30))
        own_ledger.get("/api/v1/deals?chain=two")

        refused = problem(own_ledger.get("/api/v1/deals", 400), "chain_required")

        assert refused["choices"] == ["one", "two"]
        first = own_ledger.data("/api/v1/deals?chain=one")
        assert first != own_ledger.data("/api/v1/deals?chain=two")

    def test_the_only_chain_that_has_it_need_not_be_named(self, own_ledger, ledger_on):
        for name in ("one", "two"):
            own_ledger.write(own_ledger.register(name))
        plans = {"one": [], "two": streams(business.REGISTRY)}
        known = ledger_on(own_ledger.url, plans=plans)

        assert known.get("/api/v1/deals").json["block"]["chain"] == "two"
        problem(known.get("/api/v1/deals?chain=one", 503), "nothing_indexed")

    def test_a_cursor_stays_on_its_chain(self, own_ledger):
        own_ledger.write(own_ledger.register("one"))
        own_ledger.write(own_ledger.register("two"))
        cursor = own_ledger.get("/api/v1/deals?chain=one").json["next"]

        refused = own_ledger.get(f"/api/v1/deals?chain=two&after={cursor}", 400)

        problem(refused, "bad_cursor")


class TestWithPlans:
    def test_what_is_planned_is_awaited(self, database_url, ledger_on, history):
        ledger = ledger_on(database_url, plans={"devnet": streams(business.REGISTRY)})
        early = ledger.get("/api/v1/deals", 503)
        assert problem(early, "nothing_indexed")["chain"] == "devnet"
        assert early.headers["Retry-After"]
        source = ledger.register("devnet")
        problem(ledger.get("/api/v1/deals", 503), "nothing_indexed")
        ledger.write(source, first=5, last=10)
        problem(ledger.get("/api/v1/deals", 503), "nothing_indexed")
        problem(ledger.get("/api/v1/deals?as_of=7", 422), "not_yet_indexed")
        ledger.write(source, first=0, last=4)

        assert ledger.get("/api/v1/deals").json["block"]["height"] == 10

    def test_a_chain_that_is_not_planned_is_not_served(self, database_url, ledger_on):
        ledger = ledger_on(database_url, plans={"devnet": streams(business.REGISTRY)})
        ledger.write(ledger.register("devnet"))
        ledger.write(ledger.register("old"))

        assert ledger.get("/api/v1/deals").json["block"]["chain"] == "devnet"
        problem(ledger.get("/api/v1/deals?chain=old", 400), "unknown_chain")


class TestDatabaseTroubles:
    def test_away(self, own_ledger, ledger_on):
        own_ledger.write(own_ledger.register("devnet"))
        own_ledger.get("/api/v1/deals")
        app = away_app()

        answer = app.test_client().get("/api/v1/deals")

        assert answer.status_code == 503
        problem(answer, "database_unavailable")
        assert answer.headers["Retry-After"]
        assert "secret" not in answer.text

    def test_other_tables(self, own_ledger):
        own_ledger.write(own_ledger.register("devnet"))
        with own_ledger.writer.begin() as connection:
            connection.execute(text("DROP VIEW state.deals CASCADE"))

        answer = own_ledger.get("/api/v1/deals", 503)

        assert "migrate" in problem(answer, "schema_changed")["detail"]

    def test_too_slow(self, own_ledger):
        own_ledger.write(own_ledger.register("devnet"))
        own_ledger.get("/api/v1/deals")
        with own_ledger.writer.begin() as connection:
            connection.execute(text("LOCK TABLE state.deals IN ACCESS EXCLUSIVE MODE"))
            own_ledger.reader.dispose()
            from api.app import create_app
            from db.reads import read_engine

            hasty = read_engine(own_ledger.url, statement_timeout_seconds=0.1)
            client = create_app(hasty, business.REGISTRY).test_client()
            answer = client.get("/api/v1/deals")
            hasty.dispose()

        assert answer.status_code == 504
        problem(answer, "too_slow")

    def test_a_mistake_of_ours_shows_nothing(self, own_ledger):
        def broken():
            raise RuntimeError("password=secret SELECT 1")

        own_ledger.app.view_functions["index.show_index"] = broken

        answer = own_ledger.get("/api/v1/", 500)

        problem(answer, "internal_error")
        assert "secret" not in answer.text


def away_app():
    from api.app import create_app
    from db.reads import read_engine

    engine = read_engine("postgresql://user:secret@127.0.0.1:1/none")
    return create_app(engine, business.REGISTRY)
