"""Faults at the API's door: answers that are lost, requests that come again."""

import os
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from db.declare.roles import Role
from helpers.office import Office

A = "0x" + "aa" * 20
ASKED = {"issuer": A, "credential": "vc", "memorandum": "ipfs://m"}


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def commands(office):
    return office.scalar("SELECT count(*) FROM control.command")


def test_01_killed_after_the_commit_and_before_the_answer(office):
    """A process that takes the command is killed before it can say so."""
    child = os.fork()
    if child == 0:  # the API's worker: its answer is never sent
        try:
            office.writer.dispose(close=False)
            office.reader.dispose(close=False)
            office.command_service.at_once.dispose(close=False)
            office.ask("register-issuer", key="one", **ASKED)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)

    assert os.WIFSIGNALED(status)
    assert 1 == commands(office)
    again = office.ask("register-issuer", 200, key="one", **ASKED)
    assert "accepted" == again.json["data"]["state"]
    assert 1 == commands(office)


def test_02_fifty_identical_requests_at_once(office):
    """Each gets the one command, or is told to ask again and then gets it."""
    token = office.by(Role.OPERATOR)
    together = threading.Barrier(10)

    def ask(number):
        if number < 10:
            together.wait(10)
        return office.app.test_client().post(
            "/api/v1/commands/register-issuer", json=ASKED,
            headers={"Idempotency-Key": "one", "Authorization": f"Bearer {token}"},
        )  # fmt: skip

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(50)))
    codes = [answer.status_code for answer in answers]
    known = {a.json["data"]["id"] for a in answers if a.status_code in (200, 202)}

    assert set(codes) <= {200, 202, 409}
    assert 1 == codes.count(202) == len(known) == commands(office)
    assert {ask(50).json["data"]["id"]} == known


def test_03_the_same_key_with_another_body(office):
    office.ask("register-issuer", key="one", **ASKED)

    other = office.ask(
        "register-issuer", 422, key="one", **{**ASKED, "issuer": "0x" + "bb" * 20}
    )

    assert other.json["type"] == "/docs#idempotency_key_reused"
    assert 1 == commands(office)


def test_19_a_call_that_would_revert(office):
    """The final answer is there before a nonce is taken, with the decoded error."""
    selector = keccak(text="IssuerAlreadyRegistered(address)")[:4]
    office.node.reverts = selector + encode(["address"], [A])

    answer = office.ask("register-issuer", 422, **ASKED)

    assert f"IssuerAlreadyRegistered(issuer={A})" in answer.json["detail"]
    assert 0 == commands(office)
    assert 0 == office.scalar("SELECT count(*) FROM control.slot")


def test_a_wallet_s_bytes_are_refused_for_a_command_that_is_not_its_own(office):
    taken = office.ask("register-issuer", **ASKED).json["data"]["id"]

    answer = office.post(
        f"/api/v1/commands/{taken}/signed", {"raw": "0x00"}, 422,
        token=office.by(Role.OPERATOR),
        headers={"Idempotency-Key": str(uuid.uuid4())},
    )  # fmt: skip

    assert "Our own signers sign" in answer.json["detail"]
