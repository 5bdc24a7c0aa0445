"""One deployment signs for several chains: each signer for the chain that it names."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine import connect
from devnet.deploy import dev_account, dev_key
from devnet.run import up
from examples.crowdfunding.traffic import Traffic
from helpers.processes import Group, wait_until
from helpers.servers import fresh_database
from ops.command_service import open_command_service
from ops.errors import OperationError
from ops.ports import free_port
from ops.settings import SettingsError, load_settings

COMMAND = Path(sys.executable).parent / "chainfold"
CHAINS = {"north": 31337, "south": 31399}
SIGNERS = f"""
[signers.registrar]
kind = "env"
env = "NORTH_KEY"
chain = "north"
address = "{dev_account(0)}"

[signers.operator]
kind = "env"
env = "SOUTH_KEY"
chain = "south"
address = "{dev_account(1)}"
"""


def settings_of(tmp_path, signers):
    path = tmp_path / "chainfold.toml"
    path.write_text(
        "".join(
            f'[chains.{name}]\nid = "eip155:{number}"\nfinality = "ibft"\n'
            f'rpc = ["http://127.0.0.1:{number}"]\n'
            for name, number in CHAINS.items()
        )
        + signers
    )
    return path


def test_a_signer_of_several_chains_must_say_which(tmp_path):
    signers = SIGNERS.replace('chain = "north"\n', "")

    with pytest.raises(SettingsError, match=r"registrar.chain: say which .* north, so"):
        load_settings(str(settings_of(tmp_path, signers)))


def test_a_signer_that_names_no_chain_is_for_the_only_evm_chain(tmp_path):
    """So it was before there were signers of Solana."""
    path = tmp_path / "chainfold.toml"
    path.write_text(
        '[chains.north]\nid = "eip155:31337"\nfinality = "ibft"\n'
        'rpc = ["http://127.0.0.1:1"]\n[chains.south]\n'
        'id = "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"\n'
        'finality = "commitment"\nrpc = ["http://127.0.0.1:2"]\n'
        '[signers.registrar]\nkind = "env"\nenv = "NORTH_KEY"\n'
    )

    assert load_settings(str(path)).signers["registrar"].chain == "north"


def test_a_signer_of_an_unknown_chain_is_refused_with_the_known_ones(tmp_path):
    signers = SIGNERS.replace('"south"', '"east"')

    with pytest.raises(SettingsError, match="no chain 'east'; known: north, south"):
        load_settings(str(settings_of(tmp_path, signers)))


def test_without_a_chain_no_commands_are_taken(tmp_path):
    path = tmp_path / "chainfold.toml"
    path.write_text('[signers.registrar]\nkind = "env"\nenv = "NORTH_KEY"\n')

    with pytest.raises(OperationError, match=r"write \[chains.<name>\]"):
        open_command_service(load_settings(str(path)), None)


@pytest.fixture
def running(tmp_path, postgres_url, monkeypatch):
    """Two chains with the contracts on them, indexed and worked on by one `run`."""
    monkeypatch.setenv("NORTH_KEY", dev_key(0).hex())
    monkeypatch.setenv("SOUTH_KEY", dev_key(1).hex())
    nodes = {name: up(chain_id=number) for name, number in CHAINS.items()}
    with fresh_database(postgres_url) as url:
        sections = [f'[database]\nurl = "{url}"', f"[api]\nport = {free_port()}"]
        sections += [f"[metrics]\nport = {free_port()}", '[redis]\nurl = "none"']
        for name, (_, deployment) in nodes.items():
            assert deployment.chain_id == CHAINS[name]
            sections.append(
                deployment.to_settings_toml().replace(deployment.network, name)
            )
        (tmp_path / "chainfold.toml").write_text("\n".join(sections) + SIGNERS)
        Traffic(nodes["south"][1], seed=5).play(25)
        group, engine = Group(tmp_path, "run", "--migrate"), connect(url)
        try:
            yield tmp_path, group, engine
        finally:
            group.end()
            engine.dispose()
            for anvil, _ in nodes.values():
                anvil.stop()


def rows(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.chain
@pytest.mark.slow
def test_two_chains_have_commands_of_one_deployment_at_once(running):
    folder, group, engine = running
    active = "SELECT campaign FROM campaigns WHERE stage = 'active' ORDER BY 1"
    wait_until(lambda: _read(engine, active), 60, group)
    campaign = rows(engine, active)[0]

    def ask(*arguments):
        return subprocess.Popen(
            [COMMAND, "command", "submit", *arguments, "--wait", "60"], cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    asked = [
        ask("register-issuer", f"issuer=0x{n:040x}", "credential=é", "memorandum=m")
        for n in (0xA1, 0xA2)
    ] + [
        ask(
            "attest-investment", f"campaign={campaign[0]}", f"investor=0x{0xB1:040x}",
            "amount=100.000000000000000007", "method=cbe",
            "payment_ref=0x" + "5a" * 32,
        )
    ]  # fmt: skip
    said = [each.communicate(timeout=90)[0] for each in asked]
    elsewhere = ask("register-issuer", "issuer=0x" + "a3" * 20, "credential=c",
                    "memorandum=m", "--chain", "south")  # fmt: skip
    refused = elsewhere.communicate(timeout=60)[0]

    assert [0, 0, 0] == [each.returncode for each in asked], said
    where = rows(
        engine,
        "SELECT c.kind, s.name, count(*) FROM control.command c"
        " JOIN control.source s ON s.id = c.source"
        " WHERE c.state = 'succeeded' AND c.cause = '' GROUP BY 1, 2 ORDER BY 1",
    )
    assert [("attest-investment", "south", 1), ("register-issuer", "north", 2)] == where
    assert "does not go to chain 'south', but to north" in refused
    attempts = (
        "SELECT a.signer, count(*) FROM control.attempt a"
        " JOIN control.slot s USING (signer, nonce)"
        " JOIN control.command c ON c.id = s.command"
        " WHERE c.cause = '' GROUP BY 1 ORDER BY 1"
    )
    assert [("operator", 1), ("registrar", 2)] == rows(engine, attempts)
    health = subprocess.run(
        [COMMAND, "verify"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert health.returncode == 0, health.stdout


def _read(engine, wanted):
    """Whether both chains are followed, and there are rows that are wanted."""
    following = "SELECT 1 FROM control.source WHERE state = 'following'"
    try:
        return len(rows(engine, following)) == 2 and rows(engine, wanted)
    except DBAPIError:  # it is not migrated yet
        return False
