"""Stripe by settings: verbs, the reader beside the chains, and what people are told."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import stripe as stripe_library
from click.testing import CliRunner
from sqlalchemy import text

from api.app import create_app
from db.engine import connect
from db.journal.append import append
from db.payments import account as accounts
from db.payments import webhooks
from db.payments.events import ACTOR
from db.payments.status import payment_status
from db.payments.stripe import entries as e
from db.reads import read_engine
from devnet.stripe.book import DAY
from devnet.stripe.faults import Fault
from devnet.stripe.run import FakeStripe
from helpers import servers
from helpers.stripe_shop import OURS, said
from ops.cli.main import main
from ops.cli.payments import show_payments
from ops.commanding import now
from ops.payments import open_reader, payment_domains, read_payments
from ops.ports import free_port
from ops.settings import SettingsError, load_settings

COMMAND = Path(sys.executable).parent / "chainfold"
SETTINGS = """
[database]
url = "{database}"

[stripe]
secret_key_env = "STRIPE_KEY_FOR_TESTS"
api = "{api}"
poll_seconds = 0.2
{more}
"""


@pytest.fixture
def fake():
    with FakeStripe(seed=83) as running:
        running.book.clock.seconds = time.time()
        yield running


@pytest.fixture
def settings_file(tmp_path, fake, migrated_url, monkeypatch):
    monkeypatch.setenv("STRIPE_KEY_FOR_TESTS", fake.key)
    path = tmp_path / "chainfold.toml"

    def write(more=""):
        path.write_text(SETTINGS.format(
            database=servers.plain(migrated_url), api=fake.url, more=more))  # fmt: skip
        return path

    write()
    write.path = path
    return write


@pytest.fixture
def run(settings_file):
    def invoked(*arguments):
        return CliRunner().invoke(
            main, ["--config", str(settings_file.path), *arguments],
            catch_exceptions=False,
        )  # fmt: skip

    return invoked


def pay(fake, amount=3_331):
    form = {
        "mode": "payment", "metadata": OURS,
        "line_items": [{"quantity": "1", "price_data": {
            "currency": "usd", "unit_amount": str(amount)}}],
        "payment_intent_data": {"metadata": OURS},
    }  # fmt: skip
    session = fake.routes.answer("POST", "/v1/checkout/sessions", form)
    return fake.act("pay", {"session": session["id"]})


def test_reading_comparing_and_clearing_by_hand(fake, run, migrated_engine):
    fake.book.clock.seconds = time.time() - 2 * DAY
    pay(fake)
    fake.book.clock.seconds = time.time()
    pay(fake, 4_441)
    result = run("stripe", "read", "--sweep")
    assert result.exit_code == 0, result.output
    assert "entries made" in result.output
    assert len(said(migrated_engine, e.PaymentCaptured)) == 2

    result = run("stripe", "reconcile")
    assert result.exit_code == 0, result.output
    assert "all is equal, to the cent" in result.output
    with migrated_engine.begin() as connection:
        connection.execute(text("UPDATE facts.stripe_payment_captured SET net = 0"))
    result = run("stripe", "reconcile", "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert found["drift"] == {"usd": 3_331 - 127}
    result = run("stripe", "reconciliations")
    assert f"{found['id']}  " in result.output
    assert "32.04 USD" in result.output
    result = run("stripe", "clear", str(found["id"]), "--reason", "a test changed it")
    assert result.exit_code == 0, result.output
    assert "no drift" in run("stripe", "reconciliations").output
    assert "a test changed it" in run("stripe", "reconciliations", "--all").output


def test_without_an_account_or_a_key_the_remedy_is_told(
    run, settings_file, monkeypatch, tmp_path
):
    monkeypatch.delenv("STRIPE_KEY_FOR_TESTS")
    result = run("stripe", "read")
    assert result.exit_code == 2
    assert "the secret key is not in STRIPE_KEY_FOR_TESTS" in result.output
    text_ = settings_file.path.read_text()
    settings_file.path.write_text(text_[: text_.index("[stripe]")])
    result = run("stripe", "read")
    assert "write [stripe] with secret_key_env" in result.output


def test_status_and_doctor_tell_of_it(fake, run, settings_file, migrated_engine):
    result = run("status")
    assert "stripe: new" in result.output
    pay(fake)
    run("stripe", "read")
    result = run("status")
    assert f"stripe {fake.book.account['id']}" in result.output
    assert re.search(r"events .* said", result.output)
    rows = [json.loads(line) for line in run("status", "--json").output.splitlines()
            if line.startswith("{")]  # fmt: skip
    assert [row["account"] for row in rows] == [fake.book.account["id"]]

    told = run("doctor").output
    assert f"the key is of {fake.book.account['id']}, in test mode" in told
    settings_file('account = "acct_1SomebodyElse"')
    assert "give the key of that account" in run("doctor").output
    settings_file('webhook_secret_env = "NOT_SET_FOR_TESTS"')
    assert "the signing secret is not in NOT_SET_FOR_TESTS" in run("doctor").output


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("live = true", "the secret key is of test mode"),
        ('secret_key = "sk_test_x"', "keys never live in this file"),
        ('webhook_secret = "whsec_x"', "secrets never live in this file"),
        ('secret_key_file = "key"', "does not go with secret_key_env"),
        ('account = "me"', "begins with acct_"),
        ("poll_second = 3", "did you mean poll_seconds"),
        ("overlap_seconds = 5", "at least 60"),
    ],
)
def test_settings_that_are_wrong(settings_file, more, told):
    with pytest.raises(SettingsError, match=told):
        load_settings(settings_file(more))


def test_an_api_that_others_can_read_on_its_way_is_refused(settings_file):
    path = settings_file()
    path.write_text(
        re.sub("api = .*", 'api = "http://stripe.example"', path.read_text())
    )
    with pytest.raises(SettingsError, match="use https"):
        load_settings(path)


def test_secrets_come_from_files_too_and_are_not_shown(settings_file, tmp_path):
    (tmp_path / "hook").write_text("whsec_new_secret whsec_old_secret\n")
    found = load_settings(settings_file('webhook_secret_file = "hook"'))
    assert [x.value for x in found.stripe.webhook_secrets] == [
        "whsec_new_secret", "whsec_old_secret"
    ]  # fmt: skip
    assert "whsec" not in repr(found)
    assert found.stripe.secret_key.value not in repr(found)


def test_domains_are_those_of_the_deployment(settings_file, registry):
    found = payment_domains(load_settings(settings_file()), registry)
    assert {"crowdfunding", "stripe", "audit"} <= set(found)
    said_ = load_settings(settings_file('domains = ["crowdfunding"]'))
    assert payment_domains(said_, registry) == ("crowdfunding",)


class Beside:
    """The loop of a process, for the length of a block."""

    def __init__(self, settings, engine, registry):
        self.work = lambda stop: read_payments(settings, engine, registry, stop)

    async def __aenter__(self):
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.work(self.stop))
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        await asyncio.wait_for(self.task, 30)


async def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = await asyncio.to_thread(condition)
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_it_is_read_beside_and_goes_on_after_trouble(
    fake, settings_file, migrated_engine, registry
):
    settings = load_settings(settings_file())

    def captured(count):
        return lambda: len(said(migrated_engine, e.PaymentCaptured)) == count

    def state():
        with migrated_engine.connect() as connection:
            return payment_status(connection)

    async def play():
        async with Beside(settings, migrated_engine, registry):
            pay(fake)
            await until(captured(1))
            fake.faults.shares = {Fault.UNAVAILABLE: 1.0}
            pay(fake, 5_003)
            await until(lambda: state().row.state == "retrying")
            assert "Stripe answered 503" in state().row.cause
            fake.faults.shares = {}
            await until(captured(2))
            await until(lambda: state().row.state == "reading")
            assert state().row.read_by
        assert state().row.read_by == ""

    asyncio.run(play())


def test_refunds_that_entries_ask_for_are_made_beside_and_status_tells(
    fake, settings_file, migrated_engine, registry
):
    settings = load_settings(settings_file())
    paid = [pay(fake, amount) for amount in (4_003, 5_003)]
    fake.routes.disputing.open(paid[1]["id"])
    with migrated_engine.begin() as connection:
        for charge in paid:
            asked = e.RefundAsked(
                charge=charge["id"], domain="crowdfunding", purchase="p", amount=0,
                reason="it was paid twice",
            )  # fmt: skip
            append(connection, registry, asked, actor=ACTOR, now=now())

    def state():
        with migrated_engine.connect() as connection:
            return payment_status(connection)

    def shown():
        return CliRunner().invoke(show).output

    @click.command()
    def show():
        show_payments(state(), now(), poll_seconds=1)

    async def play():
        async with Beside(settings, migrated_engine, registry):
            await until(lambda: len(said(migrated_engine, e.RefundMade)) == 1)
            await until(lambda: "1 under way" in shown())
            fake.routes.disputing.close(state_of_dispute(fake), won=False)
            with migrated_engine.begin() as connection:
                connection.execute(
                    text("UPDATE control.stripe_refund SET next_at = now()")
                )
            await until(lambda: state().refunds.refused == 1)

    asyncio.run(play())
    assert [each["charge"] for each in fake.book.all("refund")] == [paid[0]["id"]]
    assert "1 refunds are not made" in shown()
    assert "the buyer's bank has taken the money already" in shown()
    assert "pay the buyer in another way" in shown()


def state_of_dispute(fake):
    [dispute] = fake.book.all("dispute")
    return dispute["id"]


def test_answers_that_do_not_come_are_waited_for_no_longer_than_said(
    fake, settings_file, migrated_engine, registry
):
    settings = load_settings(settings_file("timeout_seconds = 1"))
    fake.faults.slow_seconds = 4.0
    charge = pay(fake)

    async def play():
        async with Beside(settings, migrated_engine, registry):
            await until(lambda: len(said(migrated_engine, e.PaymentCaptured)) == 1)
            fake.faults.come_next(Fault.SLOW, "/v1/events", times=2)
            fake.faults.come_next(Fault.SLOW, "/v1/refunds", times=1)
            with fake.service.lock:
                form = {"charge": charge["id"], "amount": "311"}
                fake.routes.answer("POST", "/v1/refunds", form)
            await until(lambda: len(said(migrated_engine, e.RefundMade)) == 1)

    began = time.monotonic()
    asyncio.run(play())
    assert time.monotonic() - began < 30
    assert len(said(migrated_engine, e.PaymentCaptured)) == 1


def test_a_webhook_wakes_the_reader_at_once(
    fake, settings_file, migrated_engine, registry
):
    path = settings_file()
    path.write_text(
        path.read_text().replace("poll_seconds = 0.2", "poll_seconds = 3600")
    )
    settings = load_settings(path)

    async def play():
        async with Beside(settings, migrated_engine, registry):
            await until(lambda: fake.service.asked.count(("GET", "/v1/events")) >= 1)
            await asyncio.sleep(1)
            pay(fake)
            event = fake.book.events[-1].event["id"]
            with migrated_engine.begin() as connection:
                webhooks.keep(connection, event, b"{}", signed_at=0,
                              now=open_reader(settings, migrated_engine, registry)
                              .clock())  # fmt: skip
            await until(lambda: len(said(migrated_engine, e.PaymentCaptured)) == 1)

    asyncio.run(play())


def test_of_two_processes_one_reads_and_the_other_takes_over(
    fake, settings_file, migrated_url, registry
):
    settings = load_settings(settings_file())
    first, second = connect(migrated_url), connect(migrated_url)

    def reading():
        with first.connect() as connection:
            row = accounts.find(connection)
            return row is not None and row.polled_at is not None

    async def play():
        async with Beside(settings, second, registry):
            async with Beside(settings, first, registry):
                await until(reading)
                pay(fake)
                await until(lambda: len(said(first, e.PaymentCaptured)) == 1)
            pay(fake, 6_007)
            await until(lambda: len(said(first, e.PaymentCaptured)) == 2)

    asyncio.run(play())
    first.dispose()
    second.dispose()


def test_a_key_that_is_refused_is_told_and_waited_for(
    fake, settings_file, migrated_engine, registry, monkeypatch
):
    settings = load_settings(settings_file())
    open_reader(settings, migrated_engine, registry).round()
    fake.service.key = "sk_test_rolled"

    def cause():
        with migrated_engine.connect() as connection:
            found = payment_status(connection)
        return found.row.cause if found.row.state == "refused" else ""

    async def play():
        async with Beside(settings, migrated_engine, registry):
            pay(fake)
            told = await until(cause)
            assert "Check the variable or the file" in told

    asyncio.run(play())


def test_metrics_tell_how_it_is_read(fake, run, migrated_url, registry):
    pay(fake)
    run("stripe", "read")
    engine = read_engine(migrated_url)
    app = create_app(engine, registry)
    told = app.extensions["chainfold_metrics"].text().decode()
    engine.dispose()

    assert 'chainfold_stripe_events_total{outcome="said"} 1.0' in told
    assert "chainfold_stripe_waiting_objects 0.0" in told
    assert re.search(r"chainfold_stripe_polled_timestamp_seconds 1\.\d+e\+09", told)


def test_the_development_server_of_a_terminal(tmp_path):
    port = free_port()
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")
    }
    process = subprocess.Popen(
        [COMMAND, "devnet", "stripe", "--port", str(port), "--seed", "5"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        client = stripe_library.StripeClient(
            "sk_test_fakestripe",
            base_addresses={"api": f"http://127.0.0.1:{port}"},
        )
        assert client.v1.accounts.retrieve_current().id.startswith("acct_1")
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "ended" in out
