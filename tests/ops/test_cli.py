"""The command as a person uses it: on a real chain, in a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from abis import load_artifact
from devnet.run import up
from examples.crowdfunding.traffic import Traffic
from ops.cli.main import Commands, main
from ops.ports import free_port

COMMAND = Path(sys.executable).parent / "chainfold"
HOST = socket.gethostname()
BARE = """
[contracts.token]
abi = "abis/token.json"
address = "{TestToken}"
chain = "devnet"

[contracts.dex]
abi = "abis/dex.json"
address = "{PairFactory}"
chain = "devnet"

[contracts.pair]
abi = "abis/pair.json"
factory = {{ contract = "dex", event = "PairCreated", param = "pair" }}
chain = "devnet"
"""

pytestmark = pytest.mark.chain


class Place:
    """A folder with a chain behind it, and the command run in it."""

    def __init__(self, folder, anvil, deployment):
        self.folder, self.anvil, self.deployment = folder, anvil, deployment

    def run(self, *arguments, code=0, environment=None):
        """Run the command to its end; returns what it said."""
        done = subprocess.run(
            [COMMAND, "--log-level", "warning", *arguments],
            cwd=self.folder,
            env=clean(environment),
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = done.stdout + done.stderr
        assert code is None or done.returncode == code, said
        return said

    def start(self, *arguments):
        """Start the command; the caller ends it."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=clean(None),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def rows(self, table):
        """The rows of a projection as the database's owner reads them."""
        return json.loads(
            self.sql(f"SELECT coalesce(json_agg(t), '[]') FROM {table} t")
        )

    def sql(self, query):
        script = (
            "import sys; from sqlalchemy import create_engine, text;"
            "from ops.services import engine; from ops.settings import load_settings;"
            "s = load_settings();\n"
            "with engine(s) as e, e.begin() as c:\n"
            "    r = c.execute(text(sys.argv[1]))\n"
            "    import json; print(json.dumps(r.scalar()) if r.returns_rows else '')"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, query],
            cwd=self.folder,
            env=clean(None),
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        return done.stdout

    def settings(self, text):
        path = self.folder / "chainfold.toml"
        path.write_text(path.read_text() + text)


def clean(extra):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")}
    return {**kept, **(extra or {})}


@pytest.fixture
def place(tmp_path):
    anvil, deployment = up(out_dir=tmp_path)
    try:
        yield Place(tmp_path, anvil, deployment)
    finally:
        anvil.stop()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def test_a_chain_is_indexed_once_and_every_table_agrees_with_its_facts(place):
    played = Traffic(place.deployment, seed=2).play(60)

    said = place.run("index", "--once")
    verified = place.run("verify")

    assert "devnet: caught up" in said
    assert "campaigns: 0 differences" in verified
    campaigns = place.rows("campaigns")
    assert len(campaigns) == played.actions["createCampaign"]
    invested = played.actions["invest"] + played.actions["recordInvestment"]
    assert 0 < len(place.rows("investments")) <= invested


def test_reading_once_with_blocks_left_to_another_worker_has_not_caught_up(place):
    Traffic(place.deployment, seed=2).play(5)
    place.run("index", "--once")
    Traffic(place.deployment, seed=3).play(5)
    place.sql(
        "INSERT INTO control.lease (source, blocks, owner, expires_at)"
        " SELECT id, int8range(0, 1000000), 'elsewhere:7', now() + interval '1 hour'"
        " FROM control.source WHERE name = 'devnet'"
    )

    said = place.run("index", "--once", code=1)

    assert "devnet: not caught up: blocks from" in said
    assert "devnet: caught up" not in said


def test_contracts_without_code_become_typed_tables(place):
    addresses = {n: c.address for n, c in place.deployment.contracts.items()}
    (place.folder / "abis").mkdir()
    for name, contract in (
        ("token", "TestToken"), ("dex", "PairFactory"), ("pair", "Pair"),
    ):  # fmt: skip
        text = json.dumps({"abi": load_artifact(contract)["abi"]})
        (place.folder / "abis" / f"{name}.json").write_text(text)
    place.settings(BARE.format(**addresses))
    played = Traffic(place.deployment, seed=3).play(80)

    place.run("index", "--once")

    transfers = place.rows("token_transfer")
    assert len(transfers) >= played.actions["mint"] > 0
    assert transfers[0].keys() == {
        "chain", "height", "position", "block_time", "transaction",
        "from_", "to_", "value", "contract",
    }  # fmt: skip
    assert len(place.rows("dex_pair_created")) == 1
    assert len(place.rows("pair_swap")) == played.actions["swap"]
    assert (
        place.rows("pair_swap")[0]["contract"]
        == place.rows("dex_pair_created")[0]["pair"]
    )


def test_a_contract_added_to_the_settings_later_is_read_from_its_past(place):
    Traffic(place.deployment, seed=4).play(40)
    place.run("index", "--once")
    before = place.rows("campaigns")
    (place.folder / "token.json").write_text(json.dumps(load_artifact("TestToken")))
    address = place.deployment.contracts["TestToken"].address
    place.settings(f'\n[contracts.token]\nabi = "token.json"\naddress = "{address}"\n')

    said = place.run("index", "--once", code=2)
    assert "token.Transfer is not in it" in said
    assert "chainfold migrate" in said
    place.run("index", "--once", "--migrate")

    assert len(place.rows("token_transfer")) > 0
    assert place.rows("campaigns") == before
    assert place.run("status", code=1).count("gaps      none") == 1


def test_killed_again_and_again_the_indexer_loses_and_doubles_nothing(place):
    traffic = Traffic(place.deployment, seed=5)
    traffic.play(60)
    place.run("migrate")
    for kill in range(5):
        process = place.start("index")
        time.sleep(0.9 + 0.1 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        traffic.play(10)

    place.run("index", "--once")  # takes the place of the dead one over at once

    assert ": 0 differences" in place.run("verify")
    undisturbed = facts_of_everything(place)
    place.run("rewind", "devnet", "0", "--yes")
    place.run("index", "--once")
    assert facts_of_everything(place) == undisturbed


def facts_of_everything(place):
    """A digest of every fact and every row."""
    tables = json.loads(
        place.sql(
            "SELECT json_agg(format('%I.%I', schemaname, tablename) ORDER BY 1)"
            " FROM pg_tables WHERE schemaname IN ('facts', 'state')"
        )
    )
    parts = " || ".join(
        "(SELECT coalesce(md5(string_agg(t::text, '' ORDER BY t::text)), '')"
        f" FROM {n} t)"
        for n in tables
    )
    return place.sql(f"SELECT {parts}")


def test_the_second_indexer_is_refused_and_told_who_is_first(place):
    first = place.start("index")
    try:
        wait_until(lambda: f"by {HOST}:{first.pid}" in place.run("status", code=None))
        said = place.run("index", "--no-wait", code=1)
        assert f":{first.pid}, since" in said
    finally:
        first.send_signal(signal.SIGINT)
        assert first.wait(20) == 0


def test_an_indexer_outlives_the_process_whose_postgres_it_joined(place):
    Traffic(place.deployment, seed=9).play(5)
    port = free_port()
    place.settings(f"\n[api]\nport = {port}\n")
    place.run("migrate")
    first = place.start("serve")
    second = None
    try:
        wait_until(lambda: listens(port))
        second = place.start("index")
        wait_until(lambda: "followed  by" in place.run("status", code=None))
        first.send_signal(signal.SIGINT)
        first.wait(20)
        Traffic(place.deployment, seed=10).play(5)
        wait_until(lambda: f"indexed   {place.anvil.height}" in place.run("status"))
    finally:
        for process in filter(None, (first, second)):
            process.send_signal(signal.SIGINT)
            process.wait(20)
    assert second.returncode == 0


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_run_serves_what_it_indexes_and_ends_on_a_signal(place):
    Traffic(place.deployment, seed=6).play(30)
    port = free_port()
    place.settings(f"\n[api]\nport = {port}\n")
    process = place.start("run")

    def answer(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as got:
            return json.load(got)

    def caught_up():
        try:
            return answer("/api/v1/campaigns")["block"]["height"] == place.anvil.height
        except OSError:
            return False

    try:
        wait_until(caught_up)
        assert len(answer("/api/v1/campaigns")["data"]) > 0
        assert answer("/health/ready")["status"] == "ready"
        assert "devnet" in place.run("status")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_doctor_names_an_address_without_code_and_a_wrong_chain(place):
    good = place.run("doctor")
    text = (place.folder / "chainfold.toml").read_text()
    place.folder.joinpath("chainfold.toml").write_text(
        text.replace("eip155:31337", "eip155:100")
    )
    wrong_chain = place.run("doctor", code=1)
    address = place.deployment.contracts["FundEscrow"].address
    place.folder.joinpath("chainfold.toml").write_text(
        text.replace(address, "0x" + "12" * 20)
    )
    no_code = place.run("doctor", code=1)

    assert "BAD" not in good
    assert "31337" in wrong_chain
    assert "100" in wrong_chain
    assert f"no code at FundEscrow 0x{'12' * 20}" in no_code


def test_an_endpoint_of_another_chain_is_never_read(place):
    text = (place.folder / "chainfold.toml").read_text()
    place.folder.joinpath("chainfold.toml").write_text(
        text.replace("eip155:31337", "eip155:100")
    )

    said = place.run("index", "--once", code=2)

    assert "31337" in said


def test_a_changed_chain_stops_and_is_rewound_by_its_operator(place):
    """Finality is IBFT here: blocks that change are an incident, not a reorg."""
    Traffic(place.deployment, seed=7).play(20)
    place.run("index", "--once")
    place.anvil.reorg(4)

    said = place.run("index", code=1)
    status = place.run("status", code=1)
    height = place.anvil.height - 3
    place.run("rewind", "devnet", str(height), "--yes")
    place.run("index", "--once")

    assert "chainfold rewind devnet" in said
    assert "stopped" in status
    assert "is final and was written as" in status
    assert ": 0 differences" in place.run("verify")


def test_repair_restores_what_verify_refutes(place):
    Traffic(place.deployment, seed=8).play(30)
    place.run("index", "--once")
    place.sql(
        "DO $$ BEGIN EXECUTE (SELECT format('UPDATE state.%I SET raised = raised + 1',"
        " relation) FROM control.declaration WHERE name = 'campaigns'); END $$"
    )

    found = place.run("verify", code=1)
    place.run("repair", "campaigns")

    assert "campaigns: 0" not in found
    assert "chainfold repair" in found
    assert "campaigns: 0 differences" in place.run("verify")


def test_every_verb_explains_itself():
    for verb in Commands.modules:
        result = CliRunner().invoke(main, [verb, "--help"])
        assert result.exit_code == 0, result.output
        assert len(result.output.splitlines()) > 3


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["index"], "chainfold demo"),
        (["backfill", "--from", "5", "--to", "1"], "swap"),
        (["verify", "nothing"], "campaigns"),
        (["repair", "nothing"], "campaigns"),
        (["describe", "nothing"], "chainfold describe"),
        (["migrate", "--refetch", "Nothing"], "InvestmentMade"),
        (["rewind", "nothing", "3"], "chainfold demo"),
        (["devnet", "traffic"], "devnet up"),
    ],
)
def test_a_wrong_call_is_answered_by_its_remedy(tmp_path, arguments, remedy):
    done = subprocess.run(
        [COMMAND, *arguments], cwd=tmp_path, env=clean(None),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_lists_every_verb_with_its_whole_summary():
    shown = CliRunner().invoke(main, ["--help"]).output.partition("Commands:")[2]

    assert "..." not in shown
    verbs = {line.split()[0] for line in shown.splitlines() if line}
    assert set(Commands.modules) <= verbs
