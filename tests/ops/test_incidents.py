"""Incidents as an operator sees them: listed, resolved on record, never talked away."""

import pytest
from click.testing import CliRunner
from eth_account import Account
from sqlalchemy import create_engine, text

from db import sources
from db.commands.evm.slots import register_signer
from db.incidents import list_incidents
from ops.cli.main import main

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address.lower()


@pytest.fixture
def office(tmp_path, migrated_url):
    """A chain with an open incident and a signer; and a way to run verbs."""
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        row = sources.register(
            connection, name="fake", chain_id="eip155:31337", ordinals="rank"
        )
        register_signer(
            connection, name="registrar", source_id=row.id,
            address=bytes.fromhex(ADDRESS[2:]), next_nonce=0, gate_height=0,
            max_in_flight=4, floor=0,
        )  # fmt: skip
        sources.set_state(connection, row.id, "stopped", "block 3 is another")
        sources.report_incident(
            connection, row.id, "finality_violated", {"cause": "block 3 is another"}
        )
        connection.execute(
            text("UPDATE control.signer SET paused = true, reason = 'an incident'")
        )
    path = tmp_path / "chainfold.toml"
    path.write_text(
        f'data_dir = "{tmp_path}/data"\n[database]\nurl = "{migrated_url}"\n'
        '[redis]\nurl = "none"\n'
        '[chains.fake]\nid = "eip155:31337"\nrpc = ["http://127.0.0.1:9"]\n'
        'finality = "ibft"\n[chains.fake.contracts]\n'
        f'IssuerRegistry = "0x{"5f" * 20}"\n'
        f'[signers.registrar]\nkind = "env"\nenv = "A_KEY"\naddress = "{ADDRESS}"\n'
    )

    def run(*words):
        result = CliRunner().invoke(main, ["--config", str(path), *words])
        assert "Traceback" not in result.output
        return result

    yield engine, run
    engine.dispose()


def number(engine):
    with engine.connect() as connection:
        (found,) = list_incidents(connection)
    return str(found.id)


def test_it_is_named_with_its_number_wherever_it_is_in_the_way(office):
    engine, run = office
    n = number(engine)

    assert f"{n}  fake  finality_violated" in run("incident", "list").output
    assert "chainfold incident list" in run("status").output
    resumed = run("sign", "resume", "registrar")

    assert resumed.exit_code == 1
    assert "goes on" not in resumed.output
    assert f"chainfold incident resolve {n}" in resumed.output


def test_resolving_it_is_on_record_with_who_and_why(office):
    engine, run = office
    n = number(engine)

    done = run("incident", "resolve", n, "--reason", "the endpoint lied")

    assert done.exit_code == 0
    assert "registrar" in done.output  # is halted still, and it says so
    assert run("incident", "list").output == "no open incident\n"
    assert "the endpoint lied" in run("incident", "list", "--all").output
    with engine.connect() as connection:
        entry = connection.execute(
            text("SELECT action, subject, outcome FROM audit_action_taken")
        ).one()
        assert entry == ("resolve", f"incident {n} of fake", "the endpoint lied")
        row = sources.find(connection, "fake")
        assert (row.state, row.cause) == ("new", "")
        (found,) = list_incidents(connection, resolved=True)
        assert found.resolved_by.startswith("cli:")
    resumed = run("sign", "resume", "registrar")
    assert (resumed.exit_code, resumed.output) == (0, "registrar goes on\n")


def test_what_is_resolved_or_unknown_is_not_resolved_again(office):
    engine, run = office
    n = number(engine)
    run("incident", "resolve", n, "--reason", "it is over")

    again = run("incident", "resolve", n, "--reason", "it is over")
    unknown = run("incident", "resolve", "999", "--reason", "it is over")

    assert (again.exit_code, unknown.exit_code) == (2, 2)
    assert "was resolved by cli:" in again.output
    assert "chainfold incident list" in unknown.output
    assert run("incident", "resolve", n).exit_code == 2  # without a reason


def test_a_stop_of_every_signer_is_not_talked_away_by_resuming_one(office):
    engine, run = office
    run("incident", "resolve", number(engine), "--reason", "it is over")
    run("sign", "stop", "--reason", "a drill")

    one = run("sign", "resume", "registrar")
    every = run("sign", "resume")

    assert one.exit_code == 1
    assert "every signer is stopped (a drill)" in one.output
    assert (every.exit_code, every.output) == (0, "registrar goes on\n")


def test_a_rewind_resolves_it_on_record(office):
    engine, run = office
    n = number(engine)

    assert f"incident {n} is resolved" in run("rewind", "fake", "3", "--yes").output

    with engine.connect() as connection:
        (found,) = list_incidents(connection, resolved=True)
        assert found.resolution == "rewound to block 3"
        assert connection.scalar(text("SELECT count(*) FROM audit_action_taken")) == 1
