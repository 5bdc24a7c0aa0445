"""Commands and signers as Prometheus sees them."""

import pytest

from api.auth.context import AuthContext
from api.console.pages import signers
from commands.errors import NodeAway
from db.commands.signers import pause
from helpers.office import Office

A = "0x" + "aa" * 20


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def metrics(office):
    lines = office.app.extensions["chainfold_metrics"].text().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_commands_and_signers_are_told(office):
    office.ask("register-issuer", issuer=A, credential="vc", memorandum="m")
    office.clock.forward(seconds=90)
    with office.writer.begin() as connection:
        pause(connection, "operator", paused=True, reason="by hand")

    told = metrics(office)

    state = 'chainfold_commands{kind="register-issuer",state="%s"}'
    assert ("1.0", "0.0") == (told[state % "accepted"], told[state % "held"])
    signer = 'chainfold_signer_%s{signer="%s"}'
    assert "1.0" == told[signer % ("waiting", "registrar")]
    assert float(told[signer % ("oldest_waiting_seconds", "registrar")]) >= 0
    assert "3.0" == told[signer % ("balance_coins", "registrar")]
    assert "1.0" == told[signer % ("paused", "operator")]
    assert "0.0" == told[signer % ("paused", "registrar")]
    assert "0.0" == told["chainfold_outbox_waiting"]


def test_a_node_that_is_away_leaves_out_the_balance(office):
    office.node.away = NodeAway("no answer")
    asked = []
    balance = office.node.balance
    office.node.balance = lambda address: asked.append(address) or balance(address)

    told = metrics(office)

    assert not [name for name in told if "balance" in name]
    assert 1 == len(asked)  # not once for each signer: a silent node takes its time
    assert "0.0" == told['chainfold_signer_waiting{signer="admin"}']


def test_the_console_shows_what_a_signer_can_pay(office):
    context = AuthContext(office.service, office.writer, office.options)

    shown = {each.health.name: each.balance for each in signers(context)}
    office.node.away = NodeAway("no answer")
    away = {each.health.name: each.balance for each in signers(context)}

    assert "3.0000 (in units of 1e18 wei)" == shown["registrar"]
    assert {None} == set(away.values())
