"""Verbs that only read: they change nothing, and need no right to change anything."""

import json
import os
import signal
import subprocess
import urllib.request
import uuid

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text

from api.app import create_app
from db import sources
from db.functions import load_functions
from db.leases import acquire_follower_lease
from db.reads import read_engine
from db.registry import Registry
from db.schema import upgrade_control
from helpers import servers
from helpers.processes import Group, listens, live, wait_until
from helpers.rpc import FakeEvmChain, FakeRpcServer
from ops.cli.main import main
from ops.embedded.binaries import find_postgres
from ops.embedded.supervisor import child_command, choose_identity, give_to
from ops.embedded.supervisor import run as run_program
from ops.ports import free_port

READING = [
    ["status"], ["verify"], ["doctor"], ["describe"], ["account", "list"],
    ["journal", "check"], ["sign", "show"], ["incident", "list"],
]  # fmt: skip
WRITING = [
    ["index", "--once"], ["backfill"], ["account", "set-roles", "a@example.org"],
    ["sign", "stop"], ["repair", "campaigns"], ["rewind", "fake", "3", "--yes"],
]  # fmt: skip


@pytest.fixture(scope="module")
def node():
    chain = FakeEvmChain(chain_id=31337)
    chain.mine_many(20)
    with FakeRpcServer(chain) as server:
        yield server


@pytest.fixture
def settings(tmp_path, node):
    """Writes settings with this [database] and returns a way to run verbs with them."""

    def write(database):
        path = tmp_path / "chainfold.toml"
        path.write_text(
            f'data_dir = "{tmp_path}/data"\n'
            f'[chains.fake]\nid = "eip155:31337"\nrpc = ["{node.url}"]\n'
            'finality = "ibft"\nlogs = "filtered"\n[chains.fake.contracts]\n'
            f'IssuerRegistry = "0x{"5f" * 20}"\n'
            f'[redis]\nurl = "none"\n[api]\nport = {free_port()}\n'
            f"[database]\n{database}\n"
        )
        return lambda *words: CliRunner().invoke(main, ["--config", str(path), *words])

    return write


@pytest.fixture
def of_other_declarations(migrated_url):
    """A database of a version with one more table and one more column."""
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE state.ghosts_1 (name text)")
        connection.exec_driver_sql(
            "INSERT INTO control.declaration"
            " VALUES ('projection', 'ghosts', 'f00', 'ghosts_1', now())"
        )
        (relation,) = connection.exec_driver_sql(
            "UPDATE control.declaration SET fingerprint = 'other'"
            " WHERE name = 'campaigns' RETURNING relation"
        ).one()
        connection.exec_driver_sql(f'ALTER TABLE state."{relation}" ADD ghost text')
    yield engine
    engine.dispose()


def schema_of(engine):
    """Everything that a verb could have changed in the schema, and the declarations."""
    with engine.connect() as connection:
        columns = connection.exec_driver_sql(
            "SELECT table_schema, table_name, column_name FROM"
            " information_schema.columns WHERE table_schema IN"
            " ('control', 'facts', 'state', 'public') ORDER BY 1, 2, 3"
        ).all()
        built = connection.exec_driver_sql(
            "SELECT * FROM control.declaration ORDER BY 1, 2"
        ).all()
    return columns, built


@pytest.mark.parametrize("words", [*READING, *WRITING], ids=" ".join)
def test_no_verb_but_migrate_changes_a_database_of_other_declarations(
    settings, of_other_declarations, words
):
    engine = of_other_declarations
    run = settings(f'url = "{engine.url.render_as_string(False)}"')
    before = schema_of(engine)

    result = run(*words)

    assert schema_of(engine) == before
    if words in (["describe"], ["incident", "list"]):  # nothing to compare
        assert result.exit_code == 0
        return
    assert result.exit_code in (1, 2), result.output
    assert "ghosts is in it and not declared" in result.output
    assert "campaigns is declared otherwise" in result.output
    assert "chainfold migrate" in result.output


def test_what_is_not_declared_is_dropped_only_when_asked(
    settings, of_other_declarations
):
    engine = of_other_declarations
    run = settings(f'url = "{engine.url.render_as_string(False)}"')
    before = schema_of(engine)

    refused = run("migrate")

    assert refused.exit_code == 2
    assert "table ghosts, column campaigns.ghost" in refused.output
    assert "migrate --drop" in refused.output
    assert schema_of(engine) == before
    assert run("migrate", "--drop").exit_code == 0
    assert schema_of(engine) != before
    assert run("verify", "campaigns").exit_code == 0


@pytest.mark.parametrize(
    ("version", "told"),
    [("0008", "older Chainfold"), ("9999", "newer Chainfold")],
)
def test_control_tables_of_another_version_are_told_and_not_touched(
    settings, migrated_url, version, told
):
    run = settings(f'url = "{migrated_url}"')
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE control.alembic_version SET version_num = :v"), {"v": version}
        )
    before = schema_of(engine)

    for words in (["status"], ["verify"], ["index", "--once"], ["doctor"]):
        result = run(*words)
        assert result.exit_code in (1, 2)
        assert told in result.output
        assert schema_of(engine) == before
    engine.dispose()


def test_in_an_empty_database_reading_verbs_say_so_and_writing_ones_make_the_tables(
    settings, database_url
):
    run = settings(f'url = "{database_url}"')

    for verb in ("status", "verify"):
        assert "holds nothing of Chainfold yet" in run(verb).output
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert not connection.scalar(text("SELECT to_regclass('control.source')"))
    assert "caught up" in run("index", "--once").output
    engine.dispose()


def test_a_first_migration_that_was_killed_between_its_parts_is_gone_on_with(
    settings, database_url
):
    """It left the control tables, and none of those that are declared."""
    run = settings(f'url = "{database_url}"')
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA control"))
        upgrade_control(connection, Registry.load())
        load_functions(connection)

    for verb in ("status", "verify"):
        assert "holds nothing of Chainfold yet" in run(verb).output
    assert "caught up" in run("index", "--once").output
    assert run("verify").exit_code == 0
    engine.dispose()


def test_index_migrates_when_told_to(settings, migrated_url):
    run = settings(f'url = "{migrated_url}"')
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE control.declaration SET fingerprint = 'x' WHERE name = 'campaigns'"
        )

    assert run("index", "--once").exit_code == 2
    assert run("index", "--once", "--migrate").exit_code == 0
    engine.dispose()


@pytest.fixture
def reader_url(postgres_url, migrated_url):
    """The database of `migrated_url`, as a role that may only read."""
    name = f"reader_{uuid.uuid4().hex[:12]}"
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        connection.exec_driver_sql(f"GRANT pg_read_all_data TO {name}")
        connection.exec_driver_sql(
            f"ALTER ROLE {name} SET default_transaction_read_only = on"
        )
    url = make_url(migrated_url).set(username=name, password="secret")
    yield url.render_as_string(False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE {name}")
    engine.dispose()


@pytest.mark.parametrize("key", ["url", "read_url"])
def test_a_role_that_may_only_read_is_enough(settings, migrated_url, reader_url, key):
    settings(f'url = "{migrated_url}"')("index", "--once")
    run = settings(f'{key} = "{reader_url}"')

    outputs = {" ".join(words): run(*words) for words in READING}

    for words, result in outputs.items():
        assert "Traceback" not in result.output, words
        assert not result.exception or isinstance(result.exception, SystemExit), words
        assert "read-only" not in result.output, words
    assert ": 0 differences" in outputs["verify"].output
    assert outputs["verify"].exit_code == outputs["account list"].exit_code == 0
    assert "indexed   20" in outputs["status"].output
    assert "BAD" not in outputs["doctor"].output
    refused = run("index", "--once")
    assert refused.exit_code == 2
    assert "read" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.slow
@pytest.mark.parametrize("key", ["url", "read_url"])
def test_the_api_serves_what_a_role_may_only_read(
    settings, tmp_path, migrated_url, reader_url, key
):
    settings(f'url = "{migrated_url}"')("index", "--once")
    settings(f'{key} = "{reader_url}"')
    serve_and_read(tmp_path)


def serve_and_read(folder):
    """Serve the settings of a folder, and read from it."""
    lines = (folder / "chainfold.toml").read_text().splitlines()
    port = next(int(x.split(" = ")[1]) for x in lines if x.startswith("port"))
    group = Group(folder, "serve")
    try:
        wait_until(lambda: live(port), group=group)
        base = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{base}/api/v1/campaigns", timeout=10) as answer:
            assert json.load(answer)["block"]["height"] == 20
        assert "may only be read here" in group.log.read_text()
        assert "Traceback" not in group.log.read_text()
        assert group.process.poll() is None
    finally:
        group.end()
    wait_until(lambda: not listens(port), 5)


def test_an_empty_folder_is_told_and_no_database_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["status"], ["verify"], ["migrate"], ["serve"], ["doctor"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code in (1, 2)
        assert "no chainfold.toml here" in result.output
    assert list(tmp_path.iterdir()) == []


def test_without_a_database_doctor_goes_on_to_endpoints(settings, postgres_url):
    url = make_url(postgres_url).set(port=free_port()).render_as_string(False)
    result = settings(f'url = "{url}"')("doctor")

    assert result.exit_code == 1
    assert "BAD postgres: it cannot be reached" in result.output
    assert (
        "ok  chain fake endpoint 1: answers for chain 31337, head 20" in result.output
    )


def test_doctor_names_the_endpoint_that_is_behind_and_does_not_blame_contracts(
    tmp_path, migrated_url
):
    chain = FakeEvmChain(chain_id=31337)
    chain.mine_many(300)
    with FakeRpcServer(chain, lags=(280,)) as late, FakeRpcServer(chain) as well:
        late.alter = lambda method, params, result: (
            "0x" if method == "eth_getCode" else result
        )
        path = tmp_path / "chainfold.toml"
        path.write_text(
            f'data_dir = "{tmp_path}/data"\n[database]\nurl = "{migrated_url}"\n'
            f'[chains.fake]\nid = "eip155:31337"\nrpc = ["{late.url}", "{well.url}"]\n'
            'finality = "ibft"\n[chains.fake.contracts]\n'
            f'IssuerRegistry = "0x{"5f" * 20}"\n[redis]\nurl = "none"\n'
        )
        said = CliRunner().invoke(main, ["--config", str(path), "doctor"])

    assert said.exit_code == 1
    assert "BAD chain fake endpoint 1" in said.output
    assert "head 20: 280 blocks behind endpoint 2" in said.output
    assert "ok  chain fake endpoint 2" in said.output
    assert "ok  chain fake code" in said.output


@pytest.mark.parametrize(("state", "well"), [("halted", False), ("retrying", True)])
def test_status_and_ready_agree_on_a_chain_that_stands_still(
    settings, migrated_url, state, well
):
    run = settings(f'url = "{migrated_url}"')
    run("index", "--once")
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        (number,) = connection.execute(
            text("SELECT id FROM control.source WHERE name = 'fake'")
        ).one()
        sources.set_state(connection, number, state, "because", "chain_halted")
    acquire_follower_lease(engine, number)
    app = create_app(read_engine(migrated_url), Registry.load())

    status = run("status")
    ready = app.test_client().get("/health/ready")
    metrics = app.extensions["chainfold_metrics"].text().decode()

    assert (status.exit_code == 0) is well
    assert (ready.status_code == 200) is well
    assert "chain_halted" in status.output
    assert 'chainfold_chain_ailment{ailment="chain_halted",chain="fake"} 1.0' in metrics
    if not well:
        assert "chain_halted: because" in ready.json["causes"][0]
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE control.source SET state_since = now() - interval '2 minutes'")
        )
    assert run("status").exit_code == 1
    assert app.test_client().get("/health/ready").status_code == 503
    engine.dispose()


@pytest.fixture
def replica_url(postgres_url, migrated_url):
    """The database of `migrated_url` on a hot standby of the tests' server."""
    if os.environ.get("CHAINFOLD_TEST_DATABASE_URL"):
        pytest.skip("a standby is made of a Postgres of our own")
    url, run_as, port = make_url(postgres_url), choose_identity(), free_port()
    with servers.scratch_directory() as folder:
        data = folder / "standby"
        data.mkdir(mode=0o700)
        give_to(data, run_as)
        programs = find_postgres(data)
        libpq = servers.plain(url.set(drivername="postgresql").render_as_string(False))
        copy = [str(programs / "pg_basebackup"), "-D", str(data), "-R", "-d", libpq]
        done = run_program([*copy, "-X", "stream", "-c", "fast"], run_as)
        assert done.returncode == 0, done.stdout
        with (data / "chainfold.conf").open("a") as conf:
            conf.write(f"port = {port}\n")
        command = [str(programs / "postgres"), "-D", str(data)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                child_command(command, run_as, signal.SIGINT),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: listens(port))
            yield make_url(migrated_url).set(port=port).render_as_string(False)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["url", "read_url"])
def test_verbs_that_read_and_the_api_work_on_a_replica(
    settings, tmp_path, migrated_url, replica_url, key
):
    settings(f'url = "{migrated_url}"')("index", "--once")
    run = settings(f'{key} = "{replica_url}"')
    wait_until(lambda: "indexed   20" in run("status").output)

    outputs = {" ".join(words): run(*words) for words in READING}

    for words, result in outputs.items():
        assert "Traceback" not in result.output, words
        assert not result.exception or isinstance(result.exception, SystemExit), words
    assert outputs["verify"].exit_code == 0, outputs["verify"].output
    replica_told = "give it as read_url" in outputs["doctor"].output
    assert replica_told is (key == "url")
    assert run("index", "--once").exit_code == 2
    serve_and_read(tmp_path)
