"""`chainfold run` as a process: a payment goes from the webhook to the API.

The process is killed while it reads and begun again; each payment is said once.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from db.payments.stripe import entries as e
from devnet.stripe.faults import Fault
from devnet.stripe.run import FakeStripe
from helpers import servers
from helpers.stripe_shop import OURS, said
from ops.ports import free_port

COMMAND = Path(sys.executable).parent / "chainfold"
SETTINGS = """
[chains.absent]
id = "eip155:31337"
rpc = "http://127.0.0.1:9"
finality = "ibft"

[chains.absent.contracts]
IssuerRegistry = "0x5fbdb2315678afecb367f032d93f642f64180aa3"

[database]
url = "{database}"

[api]
port = {port}

[metrics]
port = 0

[stripe]
secret_key_env = "STRIPE_KEY_FOR_TESTS"
webhook_secret_env = "STRIPE_HOOK_FOR_TESTS"
api = "{api}"
poll_seconds = 600
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def fake():
    port = free_port()
    hook = f"http://127.0.0.1:{port}/api/checkout/webhook/"
    with FakeStripe(seed=97, live=True, webhook_url=hook) as running:
        running.api_port = port
        yield running


@pytest.fixture
def start(folder, fake, migrated_url):
    text = SETTINGS.format(
        database=servers.plain(migrated_url), port=fake.api_port, api=fake.url
    )
    (folder / "chainfold.toml").write_text(text)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")},
        "STRIPE_KEY_FOR_TESTS": fake.key,
        "STRIPE_HOOK_FOR_TESTS": fake.webhooks.secret,
    }
    running = []

    def begin():
        log = (folder / "logs" / f"{len(running)}.log").open("wb")
        process = subprocess.Popen(
            [COMMAND, "run"], cwd=folder, env=environment, stdout=log, stderr=log
        )
        running.append(process)
        return process

    yield begin
    for each in running:
        if each.poll() is None:
            each.send_signal(signal.SIGTERM)
            try:
                each.wait(30)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()


def pay(fake, amount):
    form = {
        "mode": "payment", "metadata": OURS,
        "line_items": [{"quantity": "1", "price_data": {
            "currency": "usd", "unit_amount": str(amount)}}],
        "payment_intent_data": {"metadata": OURS},
    }  # fmt: skip
    with fake.service.lock:
        session = fake.routes.answer("POST", "/v1/checkout/sessions", form)
    return fake.act("pay", {"session": session["id"]})["id"]


def until(condition, folder, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    logs = sorted((folder / "logs").iterdir())
    raise AssertionError("\n".join(each.read_text()[-3000:] for each in logs))


def answers(fake):
    with contextlib.suppress(OSError):
        live = f"http://127.0.0.1:{fake.api_port}/health/live"
        with urllib.request.urlopen(live, timeout=2) as answer:
            return answer.status == 200
    return False


def captured(engine):
    return [each["charge"] for each in said(engine, e.PaymentCaptured)]


def test_payments_are_said_once_though_the_process_is_killed(
    fake, start, folder, migrated_engine
):
    process = start()
    until(lambda: answers(fake), folder)
    charges = [pay(fake, 1_061)]
    until(lambda: captured(migrated_engine) == charges, folder)
    assert 200 in fake.webhooks.answered

    fake.faults.slow_seconds = 3.0
    fake.faults.come_next(Fault.SLOW, "/v1/charges", times=1)
    charges += [pay(fake, amount) for amount in (2_063, 3_067)]
    until(lambda: ("GET", f"/v1/charges/{charges[1]}") in fake.service.asked, folder)
    process.kill()  # while it waits for an answer
    process.wait()
    charges.append(pay(fake, 4_073))
    start()
    until(lambda: sorted(captured(migrated_engine)) == sorted(charges), folder)
    time.sleep(1)

    assert sorted(captured(migrated_engine)) == sorted(charges)
    url = f"http://127.0.0.1:{fake.api_port}/api/v1/"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert json.load(answer)
