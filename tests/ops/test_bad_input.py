"""Whatever a newcomer gets wrong is said in words, with what to do, on each verb."""

import json
import logging
import socket
import threading

import pytest
from click.testing import CliRunner
from eth_account import Account
from sqlalchemy import create_engine

from helpers import servers
from helpers.rpc import FakeEvmChain, FakeRpcServer
from indexer.evm.client import RpcClient
from ops import commanding
from ops.chains.evm.checks import ATTEMPTS
from ops.cli.main import main
from ops.settings import load_settings

KEY = "0x" + "11" * 32  # nobody's: for tests only
ADDRESS = Account.from_key(KEY).address.lower()
TEXT = """
[database]
url = "{url}"
[chains.edge]
id = "eip155:100"
rpc = ["http://127.0.0.1:9"]
finality = "ibft"
[signers.operator]
kind = "keystore"
path = "key.json"
password_env = "OPERATOR_PASSWORD"
"""
NO_CONTRACT = "allow = []\n"


@pytest.fixture
def folder(tmp_path, migrated_url, monkeypatch):
    """A folder with settings and a database, and one of us in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPERATOR_PASSWORD", "right")
    text = TEXT.format(url=servers.plain(migrated_url))
    (tmp_path / "chainfold.toml").write_text(text + NO_CONTRACT)
    return tmp_path


def say(*arguments, code=2):
    """What a verb says; a traceback would be an exception of another kind."""
    result = CliRunner().invoke(main, ["--log-level", "error", *arguments])
    assert isinstance(result.exception, SystemExit), result.output
    assert result.exit_code == code, result.output
    return result.output


def keep_key(folder):
    key = Account.encrypt(KEY, "right", kdf="pbkdf2", iterations=1000)
    (folder / "key.json").write_text(json.dumps(key))


def settings(folder, more):
    with (folder / "chainfold.toml").open("a") as file:
        file.write(more)


def test_a_doctor_opens_the_keys(folder):
    assert "BAD signer operator: the keystore" in say("doctor", code=1)

    keep_key(folder)

    assert f"ok  signer operator: its key is of {ADDRESS}" in say("doctor", code=1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f, m: (f / "key.json").write_text("{"), "check the password"),
        (lambda f, m: (f / "key.json").write_bytes(b"\xff"), "check the password"),
        (lambda f, m: m.setenv("OPERATOR_PASSWORD", "wrong"), "check the password"),
        (lambda f, m: m.delenv("OPERATOR_PASSWORD"), "OPERATOR_PASSWORD: set it"),
        (lambda f, m: settings(f, f'address = "0x{"12" * 20}"\n'), "correct its addr"),
    ],
)
def test_a_doctor_says_why_a_key_cannot_be_used(folder, monkeypatch, change, expected):
    keep_key(folder)
    change(folder, monkeypatch)

    found = say("doctor", code=1)

    assert expected in found
    assert "BAD signer operator" in found


def test_a_doctor_does_not_miss_a_key_that_is_elsewhere(folder, monkeypatch):
    monkeypatch.delenv("OPERATOR_PASSWORD")
    settings(folder, f'address = "{ADDRESS}"\n')

    assert "ok  signer operator: its key is not here" in say("doctor", code=1)


def test_a_doctor_asks_each_endpoint_some_times_and_no_more(folder, monkeypatch):
    """Many that are away hide neither the one that answers nor each other."""
    calls, attempt = [], RpcClient._attempt

    async def counted(client, endpoint, *rest):
        calls.append(endpoint.label)
        return await attempt(client, endpoint, *rest)

    monkeypatch.setattr(RpcClient, "_attempt", counted)
    settings(folder, f'address = "{ADDRESS}"\n')
    settings(folder, f'[chains.edge.contracts]\nFundEscrow = "0x{"12" * 20}"\n')
    away = [f"127.0.0.1:{port}" for port in (9, 10, 11, 12)]
    fake = FakeEvmChain(chain_id=100)
    fake.mine()
    with FakeRpcServer(fake) as node:
        node.eth_getCode = lambda head, address, block: "0x60"
        listed = json.dumps([*(f"http://{each}" for each in away), node.url])
        file = folder / "chainfold.toml"
        file.write_text(file.read_text().replace('["http://127.0.0.1:9"]', listed))
        said = say("doctor", code=1)

    assert "ok  chain edge endpoint 5" in said
    assert "ok  chain edge code: code at 1 addresses" in said
    assert all(ATTEMPTS <= calls.count(each) <= 2 * ATTEMPTS for each in away)


def test_a_keystore_that_may_not_be_read_is_said_to_be_so(folder):
    (folder / "key.json").mkdir()

    assert "cannot be read: Is a directory" in say("doctor", code=1)


def test_a_key_that_cannot_be_opened_is_told_once(folder, monkeypatch, caplog):
    """A worker goes on, for its other signers, and says it again when it changes."""
    monkeypatch.setattr(commanding, "SWEEP_SECONDS", 0.02)
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    engine = create_engine(load_settings().database.url)
    work = threading.Thread(
        target=commanding.work_until, args=(load_settings(), engine, stop)
    )

    work.start()
    stop.wait(1.0)
    stop.set()
    work.join(20)
    engine.dispose()

    [told] = [r for r in caplog.records if "operator" in r.getMessage()]
    assert "signer_unusable" in told.getMessage()
    assert "correct its path" in told.getMessage()
    assert told.exc_info is None


def test_what_is_built_on_our_views_is_named(folder, migrated_engine):
    with migrated_engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW mine AS SELECT * FROM campaigns")
        connection.exec_driver_sql("COMMENT ON VIEW campaigns IS 'of another version'")

    said = say("migrate")

    assert "view mine depends on view campaigns" in said
    assert "Drop what you have made" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("rewind", "edge", str(2**31), "--yes"),
        ("backfill", "--to", str(2**31)),
        ("index", "--metrics-port", "99999"),
        ("run", "--metrics-port", "0"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_the_bounds(folder, arguments):
    assert "is not in the range" in say(*arguments)


def test_a_port_for_metrics_that_is_taken_is_named(folder):
    keep_key(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = say("index", "--metrics-port", port)

    assert f"127.0.0.1:{port}: Address already in use" in said
    assert "--metrics-port" in said


def test_a_directory_for_data_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").write_text("no directory")
    (tmp_path / "chainfold.toml").write_text('data_dir = "data"\n')

    assert "Set data_dir" in say("status")
