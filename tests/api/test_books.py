"""The books over HTTP and on the command line: who may, what is answered, what not."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db.declare.roles import Role
from db.domains.settlement import entries
from db.domains.settlement.roles import CREATOR
from db.journal.append import Actor, append
from db.registry import Registry
from helpers.door import Door
from ops.cli.main import main

REGISTRY = Registry.load()
BALANCE = "/api/v1/books/trial-balance"
LINES = "/api/v1/books/lines.csv"
PERIODS = "/api/v1/books/periods"


@pytest.fixture(scope="module")
def door(postgres_url):
    from helpers import servers

    with servers.fresh_database(postgres_url) as url:
        found = Door(url, REGISTRY)
        now = found.clock()
        for number, back in enumerate((40, 33, 2)):
            said = entries.TreasuryFunded(
                usdc=1_234_567_890 + number, cents=123_999, reference=f"=wire {number}",
                funded_at=int((now - timedelta(days=back)).timestamp()),
            )  # fmt: skip
            with found.writer.begin() as connection:
                append(connection, REGISTRY, said, actor=Actor("test"), now=now)
        yield found
        found.close()


@pytest.fixture(scope="module")
def operator(door):
    return door.token(door.account(Role.OPERATOR))


def day(door, back):
    return f"{door.clock() - timedelta(days=back):%Y-%m-%d}"


def rows(answer):
    return {(r["name"], r["currency"]): r for r in answer.json["data"]["rows"]}


class TestTrialBalance:
    def test_it_is_in_whole_units_and_as_of_a_day(self, door, operator):
        now = rows(door.get(BALANCE, token=operator))
        then = rows(door.get(f"{BALANCE}?as_of={day(door, 35)}", token=operator))

        assert now["Treasury", "usdc"]["balance"] == "3703.703673"
        assert now["Exchange", "usd"]["debit"] == "3719.97"
        assert then["Treasury", "usdc"]["debit"] == "1234.567890"
        assert then["Bank", "usd"] == {
            "account": "1010", "name": "Bank", "type": "asset", "currency": "usd",
            "debit": "0.00", "credit": "1239.99", "balance": "-1239.99",
        }  # fmt: skip

    @pytest.mark.parametrize("query", [
        "as_of=2026-02-30", "as_of=yesterday", "as_of=1969-12-31", "as_of=9999-12-31",
        "as_of=2026-1%00", "by=mood", "asof=2026-01-01", "as_of=",
    ])  # fmt: skip
    def test_what_is_no_day_is_refused(self, door, operator, query):
        assert door.get(f"{BALANCE}?{query}", 400, token=operator).json["detail"]

    @pytest.mark.parametrize("path", [BALANCE, LINES, PERIODS])
    def test_staff_alone_may_look(self, door, path):
        door.get(path, 401)
        door.get(path, 403, token=door.token(door.account(CREATOR)))
        door.get(path, 200, token=door.token(door.account(Role.COMPLIANCE)))


class TestLines:
    def test_they_are_a_file_of_csv(self, door, operator):
        since, until = day(door, 35), day(door, 1)
        answer = door.get(f"{LINES}?since={since}&until={until}", token=operator)

        assert answer.mimetype == "text/csv"
        name = f'attachment; filename="books-{since}-{until}.csv"'
        assert answer.headers["Content-Disposition"] == name
        found = list(csv.DictReader(io.StringIO(answer.text)))
        assert {row["reference"] for row in found} == {"'=wire 1", "'=wire 2"}
        assert len(found) == 8


class TestClosing:
    def test_operators_close_a_period_once(self, own_door):
        door, operator = own_door, own_door.token(own_door.account(Role.OPERATOR))
        last = day(door, 1)
        other = door.token(door.account(Role.COMPLIANCE))
        door.post(f"{PERIODS}/{last}", status=403, token=other)
        closed = door.post(f"{PERIODS}/{last}", status=201, token=operator).json["data"]

        [period] = door.get(PERIODS, token=operator).json["data"]
        assert (period["last_day"], period["as_it_was"]) == (last, True)
        assert period["entry"] == closed["through"] + 1
        for again in (last, day(door, 2), day(door, 0)):
            refused = door.post(f"{PERIODS}/{again}", status=409, token=operator)
            assert refused.json["type"] == "/docs#cannot_close"
        for bad in ("2026-13-01", "now", "1%2F2"):
            door.post(f"{PERIODS}/{bad}", status=None, token=operator)
            assert len(door.get(PERIODS, token=operator).json["data"]) == 1
        with door.writer.connect() as connection:
            [actor] = connection.execute(text(
                "SELECT actor FROM control.journal_entry WHERE kind = "
                "'periods.BooksClosed'"
            )).scalars()  # fmt: skip
        assert actor.startswith("account:")

    @pytest.fixture
    def own_door(self, database_url):
        found = Door(database_url, REGISTRY)
        yield found
        found.close()


class TestVerbs:
    @pytest.fixture
    def run(self, migrated_engine, migrated_url, tmp_path):
        said = entries.TreasuryFunded(
            usdc=5_000_000_001, cents=500_417, reference="wire 9",
            funded_at=int(datetime(2026, 3, 9, 11, tzinfo=UTC).timestamp()),
        )  # fmt: skip
        with migrated_engine.begin() as connection:
            append(connection, REGISTRY, said, actor=Actor("x"), now=datetime.now(UTC))
        path = tmp_path / "chainfold.toml"
        path.write_text(
            f'[database]\nurl = "{migrated_url}"\n[redis]\nurl = "none"\n'
            '[chains.local]\nid = "eip155:31337"\nfinality = "ibft"\n'
            'rpc = ["http://127.0.0.1:9"]\n'
        )
        return lambda *words: CliRunner().invoke(
            main, ["--config", str(path), "books", *words]
        )

    def test_the_balance_is_a_table_or_json(self, run):
        shown = run("balance")
        assert shown.exit_code == 0, shown.output
        assert "1100  Treasury" in shown.output
        assert "5000.000001" in shown.output
        found = json.loads(run("balance", "--json", "--as-of", "2026-03-08").stdout)
        assert found["rows"] == []
        assert found["as_of"] == "2026-03-08"
        assert "nothing is posted yet" in run("balance", "--as-of", "2026-03-08").output

    def test_lines_go_to_a_file(self, run, tmp_path):
        out = tmp_path / "lines.csv"
        assert run("export", "--out", str(out)).exit_code == 0
        assert len(list(csv.reader(out.open()))) == 5
        assert run("export", "--since", "2026-03-10").output.count("\n") == 1

    def test_a_period_is_closed_and_checked(self, run, migrated_engine):
        assert "no period" in run("check").output
        assert "closed up to 2026-03-31" in run("close", "2026-03-31").output
        again = run("close", "2026-03-31")
        assert again.exit_code == 2
        assert "close a later day" in again.output
        assert run("check").exit_code == 0
        with migrated_engine.begin() as connection:
            connection.execute(text(
                "UPDATE facts.settlement_treasury_funded SET cents = cents + 1"
            ))  # fmt: skip
        found = run("check")
        assert (found.exit_code, "NOT as it was" in found.output) == (1, True)

    def test_a_day_before_1970_is_refused(self, run):
        for words in (("balance", "--as-of"), ("export", "--since")):
            found = run(*words, "1969-12-31")
            assert found.exit_code == 2
            assert "begin in 1970" in found.output
