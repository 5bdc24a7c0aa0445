"""A program of a Solana chain, followed by its IDL in the settings alone."""

import asyncio
import json
import shutil
import time

import pytest
from solders.keypair import Keypair
from sqlalchemy import text

from api.app import create_app
from db import reads
from db.schema import migrate
from db.sql.verify import differences
from devnet.solana import ledger
from devnet.solana.client import Client, Devnet, TransactionFailedError
from devnet.solana.ledger import Entry
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.bare import settings_of
from idl.parse import DIRECTORY
from ops.doctor import examine
from ops.errors import OperationError
from ops.indexing import declared, streams
from ops.running import catch_up, follow_chains

pytestmark = pytest.mark.chain
AUTHORS = """
domains = []

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[programs.ledger]
idl = "ledger.json"

[tables.authors]
doc = "What each author recorded."
index = ["total"]
author = "Key()"
total = "Sum(ledger.Recorded.amount)"
entries = "Count(ledger.Recorded)"
last = "Latest(ledger.Recorded.note)"
last_in = "Latest(ledger.Recorded.transaction)"
"""


@pytest.fixture
def node():
    with SolanaNode(NodeOptions(slot_ms=50, finalized_after=3)) as running:
        yield running


@pytest.fixture
def settings(node, tmp_path):
    genesis = Client(node.url).call("getGenesisHash")
    shutil.copy(DIRECTORY / "ledger.json", tmp_path)
    return settings_of(tmp_path, AUTHORS.format(genesis=genesis[:32], url=node.url))


def test_events_instructions_tables_and_api_of_a_program(node, settings, db_engine):
    client = Client(node.url)
    client.fund()
    author = client.payer.pubkey()
    people = [Keypair().pubkey() for _ in range(3)]
    wide = Entry((12, 5, 700), 3, True, "héllo\0 wörld", 2**63 + 9, (1, 77, True))
    signature = client.send(
        ledger.emit(author, b"\1" * 32, wide, people),
        ledger.emit_by_call(author, b"\2" * 32, Entry((1,)), people[:1]),
        ledger.mark(1, 2**64 - 1),
    )
    with pytest.raises(TransactionFailedError):
        client.send(ledger.fail(6001), skipPreflight=True)
    client.wait(signature, "finalized")
    registry = declared(settings)
    migrate(db_engine, registry)

    asyncio.run(catch_up(settings, settings.chains["local"], db_engine, registry))

    reader = reads.read_engine(db_engine.url.render_as_string(hide_password=False))
    plan = {name: each for name, (_, each) in streams(settings, registry).items()}
    app = create_app(reader, registry, plans=plan)
    http = app.test_client()

    def get(path):
        answer = http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json

    page = get("authors")
    assert page["data"] == [
        {
            "author": str(author), "total": "718", "entries": 2, "last": "",
            "last_in": signature,
        }
    ]  # fmt: skip
    assert len(page["block"]["hash"]) in (43, 44)
    [first] = get(f"events/ledger_recorded?author={author}&sort=position&limit=1")[
        "data"
    ]
    assert first["transaction"] == signature
    by_id = {each["id"]: each for each in get("events/ledger_recorded")["data"]}
    told = by_id["0x" + "01" * 32]
    assert told["note"] == "héllo\ufffd wörld"
    assert told["limit_"] == str(2**63 + 9)
    assert told["kind"] == {"Paid": {"fee": "77", "last": True}}
    assert [mark["second"] for mark in get("events/ledger_marked")["data"]] == [
        str(2**64 - 1)
    ]
    [call] = get("events/ledger_emit_instruction")["data"]
    assert call["author"] == str(author)
    assert call["referrer"] is None
    assert call["entry"]["note"] == "héllo\ufffd wörld"
    assert call["program"] == str(ledger.PROGRAM)
    assert get("events/ledger_fail_instruction")["data"] == []
    bad = http.get("/api/v1/events/ledger_recorded?author=0x11")
    assert (bad.status_code, "32 bytes in base58" in bad.json["detail"]) == (400, True)
    with db_engine.connect() as connection:
        for projection in registry.projections.values():
            assert list(differences(connection, projection.spec)) == []
    reader.dispose()


class TestWaking:
    """The whole follower, with the node's WebSocket in the settings."""

    TEXT = AUTHORS.replace(
        'finality = "commitment"\n',
        'finality = "commitment"\nws = {ws}\npoll_seconds = {poll}\n',
    )

    @pytest.fixture
    def node(self):
        with SolanaNode(NodeOptions(slot_ms=0, finalized_after=3)) as running:
            yield running

    def follow(self, node, tmp_path, engine, *, ws, poll):
        """Record twice while it is followed; the seconds until each was there."""
        client = Devnet(node.url)
        client.fund()
        shutil.copy(DIRECTORY / "ledger.json", tmp_path)
        genesis = client.call("getGenesisHash")[:32]
        settings = settings_of(
            tmp_path,
            self.TEXT.format(
                genesis=genesis, url=node.url, ws=json.dumps(ws), poll=poll
            ),
        )
        registry = declared(settings)
        migrate(engine, registry)

        async def story():
            stop, chains = asyncio.Event(), [settings.chains["local"]]
            task = asyncio.create_task(
                follow_chains(settings, chains, engine, registry, stop=stop)
            )
            taken = []
            try:
                await asyncio.to_thread(self.wait, engine, 0)
                for count in (1, 2):
                    await asyncio.sleep(1)  # it sleeps, too
                    await asyncio.to_thread(self.record, client, count)
                    began = time.monotonic()
                    await asyncio.to_thread(self.wait, engine, count)
                    taken.append(time.monotonic() - began)
            finally:
                stop.set()
                assert await asyncio.wait_for(task, 20) == 0
            return taken

        return asyncio.run(story())

    def record(self, client, count):
        author, people = client.payer.pubkey(), [Keypair().pubkey()]
        client.send(ledger.emit(author, count.to_bytes(32), Entry((count,)), people))
        client.advance(2)

    def wait(self, engine, count):
        """Until the chain is followed, and so many entries are there."""
        end = time.monotonic() + 25
        query = text(
            "SELECT (SELECT state FROM control.source WHERE name = 'local'),"
            " (SELECT count(*) FROM facts.ledger_recorded)"
        )
        while time.monotonic() < end:
            with engine.connect() as connection:
                if tuple(connection.execute(query).one()) == ("following", count):
                    return
            time.sleep(0.05)
        raise AssertionError(f"{count} entries never were there")

    def test_what_the_node_tells_is_read_long_before_the_next_poll(
        self, node, tmp_path, db_engine
    ):
        taken = self.follow(node, tmp_path, db_engine, ws=node.ws_url, poll=600)

        assert max(taken) < 20

    def test_with_dead_ones_it_is_followed_as_without(self, node, tmp_path, db_engine):
        dead = ["ws://127.0.0.1:9/k3yOfMyProvider1234567890", "ws://127.0.0.1:1"]

        self.follow(node, tmp_path, db_engine, ws=dead, poll=0.2)

    @pytest.mark.parametrize(
        ("dead", "said"),
        [
            ([], "1 WebSockets take subscriptions"),
            (["ws://127.0.0.1:1/k3yOfMyProvider1234567890"], "127.0.0.1:1: "),
            (["{http}/k3yOfMyProvider1234567890"], "Correct ws, or leave it out"),
        ],
    )
    def test_doctor_tells_whether_they_take_subscriptions(
        self, node, tmp_path, dead, said
    ):
        shutil.copy(DIRECTORY / "ledger.json", tmp_path)
        genesis = Client(node.url).call("getGenesisHash")[:32]
        http = node.url.replace("http:", "ws:")  # takes no WebSocket
        ws = json.dumps([node.ws_url, *(each.format(http=http) for each in dead)])
        filled = self.TEXT.format(genesis=genesis, url=node.url, ws=ws, poll=1)
        settings = settings_of(tmp_path, filled)

        found = examine(settings, declared(settings), no_database)

        [finding] = [each for each in found if "wake-ups" in each.check]
        assert finding.well is not bool(dead)
        assert said in finding.detail
        assert "k3yOf" not in finding.detail


def no_database(_):
    raise OperationError("there is none")
