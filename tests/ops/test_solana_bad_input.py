"""What is wrong about a cluster or program is told with a remedy; nothing is lost."""

import json
import shutil

import pytest
from click.testing import CliRunner
from solders.keypair import Keypair
from sqlalchemy import text

from devnet.programs.build import program
from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry
from devnet.solana.run import NodeOptions, SolanaNode
from helpers import servers
from helpers.processes import Group, wait_until
from idl.parse import DIRECTORY
from indexer.rpc.refusals import LASTING
from indexer.solana.client import classify
from ops.cli.main import main
from ops.ports import free_port

pytestmark = pytest.mark.chain
SETTINGS = """
domains = []
[database]
url = "{database}"
[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
[programs.ledger]
idl = "ledger.json"
"""
MAINNET = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
AUTHOR = Keypair()


class Place:
    """A folder with settings, and the node that they name."""

    def __init__(self, folder, client):
        self.folder, self.client = folder, client
        self.file = folder / "chainfold.toml"

    def change(self, old, new):
        content = self.file.read_text()
        assert old in content
        self.file.write_text(content.replace(old, new))

    def add(self, more):
        self.file.write_text(self.file.read_text() + more)

    def idl(self, change):
        """Change the IDL."""
        path = self.folder / "ledger.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def act(self, times=1):
        """Record entries, a slot for each."""
        for at in range(times):
            call = ledger.emit(
                AUTHOR.pubkey(),
                bytes([at + 1]) * 32,
                Entry((at + 1,)),
                [AUTHOR.pubkey()],
            )
            self.client.send(call, signers=[AUTHOR])
        self.client.advance(40)


@pytest.fixture
def place(tmp_path, database_url, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        client = Devnet(node.url)
        client.fund()
        client.fund(AUTHOR.pubkey())
        shutil.copy(DIRECTORY / "ledger.json", tmp_path)
        found = Place(tmp_path, client)
        found.file.write_text(
            SETTINGS.format(
                database=servers.plain(database_url),
                genesis=client.call("getGenesisHash")[:32],
                url=node.url,
            )
        )
        yield found


def say(*words, code=0):
    """What a verb says, and how it ends; a traceback would end it otherwise."""
    result = CliRunner().invoke(main, ["--log-level", "error", *words])
    assert not result.exception or isinstance(result.exception, SystemExit), result
    assert result.exit_code == code, result.output
    return result.output


def column(engine, query):
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def recorded(engine):
    """The amounts in order."""
    found = column(
        engine, "SELECT amount FROM public.ledger_recorded ORDER BY position"
    )
    return [int(amount) for amount in found]


def odd(engine):
    return column(engine, "SELECT event || ': ' || reason FROM control.undecodable_log")


def test_an_endpoint_of_another_cluster_is_told_by_each_verb(place, db_engine):
    cluster = place.client.call("getGenesisHash")[:32]
    place.act(2)
    place.change(cluster, MAINNET)
    place.add(f"[api]\nport = {free_port()}\n")
    words = f"is on solana:{cluster}. Correct the URLs or the chain id in the settings"

    assert words in say("doctor", code=1)
    say("migrate")
    assert words in say("index", "--once", code=2)
    assert words in say("status", code=1)
    running = Group(place.folder, "run")
    try:
        wait_until(lambda: words in running.log.read_text(), group=running)
    finally:
        running.end()

    place.change(MAINNET, cluster)  # nothing was read under the wrong id
    assert say("index", "--once") == "local: caught up\n"
    assert recorded(db_engine) == [1, 2]
    place.change(cluster, MAINNET)
    said = say("index", "--once", code=2)
    assert f"was indexed as solana:{cluster} and the settings say" in said
    assert "Give the new chain another name, or use another database" in said


@pytest.mark.parametrize("key", [Keypair(), AUTHOR], ids=["nobody", "wallet"])
def test_an_address_without_a_program_is_told_and_corrected(place, db_engine, key):
    place.act(2)
    place.add(f'address = "{key.pubkey()}"\n')
    say("migrate")
    said = say("doctor", code=1)
    assert f"BAD chain local programs: no program at ledger {key.pubkey()}" in said
    assert "Correct the address, or the endpoint's cluster" in said
    say("index", "--once")
    assert recorded(db_engine) == []

    place.change(str(key.pubkey()), str(ledger.PROGRAM))

    say("index", "--once")
    say("doctor")
    assert recorded(db_engine) == [1, 2]


def test_an_address_of_tokens_with_nothing_there_is_told(place):
    nobody = Keypair().pubkey()
    place.client.advance(40)
    place.add(f'[chains.local.tokens]\nauthor = "{AUTHOR.pubkey()}"\n')
    say("migrate")
    assert "token movements of 1 addresses" in say("doctor")
    place.add(f'typo = "{nobody}"\n')

    said = say("doctor", code=1)

    assert f"BAD chain local tokens: nothing is at {nobody}" in said
    assert "Correct the address in [chains.local.tokens]" in said


def test_what_a_program_did_before_it_was_closed_is_read(place, db_engine):
    place.act(2)
    place.client.call(
        "devnet_setAccount", {"pubkey": str(ledger.PROGRAM), "lamports": 0}
    )
    place.client.advance(40)

    said = say("doctor", code=1)
    assert (
        "nothing will be read from there but what one did before it was closed" in said
    )
    say("migrate")
    say("index", "--once")

    assert recorded(db_engine) == [1, 2]


def test_an_idl_that_does_not_fit_keeps_the_bytes_until_it_is_corrected(
    place, db_engine
):
    place.act(2)

    def lengthen(idl):
        [entry] = [each for each in idl["types"] if each["name"] == "Entry"]
        entry["type"]["fields"].insert(
            0, {"name": "odd", "type": {"array": ["u64", 99]}}
        )

    place.idl(lengthen)
    say("migrate")
    say("index", "--once")
    assert len(odd(db_engine)) == 2
    assert all(each.startswith("ledger.emit: ") for each in odd(db_engine))
    said = say("status", code=1)
    assert "2 are not what their ABI or IDL says and are in no table" in said
    assert column(db_engine, "SELECT id FROM public.ledger_emit_instruction") == []

    shutil.copy(DIRECTORY / "ledger.json", place.folder)
    said = say("migrate", code=2)  # three instructions have an entry
    words = said.partition("`chainfold ")[2].partition("`")[0].split()
    assert (words[0], words.count("--refetch")) == ("migrate", 3)
    assert "ledger.EmitInstruction" in say("index", "--once", code=2)
    say(*words)
    say("index", "--once")

    assert odd(db_engine) == []
    assert recorded(db_engine) == [1, 2]
    found = column(db_engine, "SELECT id FROM public.ledger_emit_instruction")
    assert len(found) == 2


def test_the_idl_of_another_program_is_told_by_all_that_it_does_not_know(
    place, db_engine
):
    place.act(2)
    whole = (place.folder / "ledger.json").read_text()
    other = {
        "address": str(ledger.PROGRAM),
        "metadata": {"name": "other", "version": "1.0.0", "spec": "0.1.0"},
        "instructions": [
            {"name": "go", "discriminator": [1] * 8, "accounts": [], "args": []}
        ],
    }
    (place.folder / "ledger.json").write_text(json.dumps(other))
    say("migrate")
    say("index", "--once")

    assert odd(db_engine) == ["ledger: the IDL knows nothing that begins so"] * 4
    assert "4 are not what their ABI or IDL says" in say("status", code=1)

    (place.folder / "ledger.json").write_text(whole)
    say("migrate", "--drop", "--yes")
    say("index", "--once")
    assert odd(db_engine) == []
    assert recorded(db_engine) == [1, 2]


def test_a_program_that_is_upgraded_in_the_middle(place, db_engine):
    """What the new one can do is kept, and read when the IDL says what it is."""
    whole = (place.folder / "ledger.json").read_text()

    def without_mark(idl):
        for kind, name in (("instructions", "mark"), ("events", "Marked")):
            idl[kind] = [each for each in idl[kind] if each["name"] != name]

    place.idl(without_mark)
    place.act(2)
    say("migrate")
    say("index", "--once")
    assert (recorded(db_engine), odd(db_engine)) == ([1, 2], [])

    place.client.add_program(ledger.PROGRAM, program("ledger"))
    place.client.advance(1)
    place.client.send(ledger.mark(7, 8))
    place.act(1)
    say("index", "--once")
    assert recorded(db_engine) == [1, 2, 1]
    assert odd(db_engine) == ["ledger: the IDL knows nothing that begins so"] * 2
    assert "are in no table" in say("status", code=1)

    (place.folder / "ledger.json").write_text(whole)
    say("migrate")
    say("index", "--once")
    assert odd(db_engine) == []
    assert column(db_engine, "SELECT second FROM public.ledger_marked") == [8]
    assert recorded(db_engine) == [1, 2, 1]


def test_history_that_a_provider_pruned_is_told_from_where_on(place, db_engine):
    place.act(1)
    first = place.client.call("getSlot", {"commitment": "finalized"}) + 30
    place.act(2)
    place.client.fault(kind="prune", first=first, times=0)

    said = say("doctor", code=1)
    assert f"BAD chain local history: no endpoint has blocks below {first}" in said
    assert f"give the programs start = {first} and do without" in said
    say("migrate")
    reading = Group(place.folder, "index", "--once")
    try:
        words = f"has blocks from {first} on: asking others; add an endpoint that keeps"
        wait_until(lambda: words in reading.log.read_text(), group=reading)
        assert reading.process.poll() is None  # it waits, and pretends nothing
    finally:
        reading.end()
    assert recorded(db_engine) == []

    place.add(f"start = {first}\n")
    assert f"ok  chain local history: blocks from {first} on" in say("doctor")
    say("index", "--once")
    assert recorded(db_engine) == [1, 2]

    place.client.clear()  # an endpoint that keeps all
    place.change(f"start = {first}\n", "")
    say("index", "--once")
    assert recorded(db_engine) == [1, 1, 2]
    place.client.fault(kind="prune", first=first, times=0)
    assert "and all before was listed" in say("doctor")


def test_an_endpoint_without_history_is_told(place, db_engine):
    place.act(1)
    say("migrate")
    rule = {
        "kind": "error", "code": -32011, "method": "getSignaturesForAddress",
        "times": 0, "message": "Transaction history is not available from this node",
    }  # fmt: skip
    place.client.fault(**rule)
    reading = Group(place.folder, "index", "--once")
    try:
        words = "add an endpoint that keeps the history of transactions"
        wait_until(lambda: words in reading.log.read_text(), group=reading)
    finally:
        reading.end()
    place.client.clear()
    say("index", "--once")
    assert recorded(db_engine) == [1]
    # Another endpoint is asked: what one does not keep, another may.
    assert classify(-32011, "no history").refusal not in LASTING
