"""What clients are told when the nodes of the write side are not as they should be."""

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from commands.evm.nodes.pool import Nodes
from helpers.office import CHAIN_ID, Office
from helpers.scripted_node import Fault, ScriptedNode
from ops.chains.indexed import last_indexed
from ops.nodes import contract_call

SECRET = "5ecre7-k3y-of-the-pr0vider"
ISSUER = {"issuer": "0x" + "11" * 20, "credential": "vc", "memorandum": "m"}


class Platform(Office):
    """An office whose node is asked over HTTP."""

    def use(self, *nodes, **options):
        options = {"timeout_seconds": 2.0, **options}
        asked = Nodes.at([node.url for node in nodes], chain_id=CHAIN_ID, **options)
        self.command_service = self.with_lane(node=asked)
        self.open(command_service=self.command_service)

    def register(self, status):
        return self.ask("register-issuer", status, **ISSUER).json


@pytest.fixture
def office(migrated_url):
    found = Platform(migrated_url)
    yield found
    found.close()


@pytest.fixture
def node():
    with ScriptedNode(path=f"/v3/{SECRET}") as node:
        yield node


def refusals(office):
    return office.scalar("SELECT count(*) FROM facts.audit_command_refused")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(-32005, "limit exceeded"),
        Fault(-32603, f"internal error at /v3/{SECRET}"),
        Fault(-32000, "header not found"),
    ],
)
def test_an_error_that_is_no_revert_is_no_refusal(office, node, caplog, fault):
    node.answers["eth_estimateGas"] = fault
    office.use(node)

    with caplog.at_level(logging.DEBUG):
        told = office.register(503)

    assert fault.message.split("/")[0] in told["detail"]
    assert SECRET not in str(told) + caplog.text
    assert 0 == refusals(office)


def test_the_secret_of_a_url_is_in_no_answer_and_no_log(office, node, caplog):
    office.use(node)
    node.stop()

    with caplog.at_level(logging.DEBUG):
        told = office.register(503)

    assert "did not answer" in told["detail"]
    assert SECRET not in str(told) + caplog.text


@pytest.mark.parametrize("result", [None, "0x" + "f" * 64, [], "0x"])
def test_an_estimate_that_is_no_number_is_not_a_crash(office, node, result):
    node.answers["eth_estimateGas"] = result
    office.use(node)

    assert "answered eth_estimateGas" in office.register(503)["detail"]


def test_json_nested_deep_is_not_the_end_of_the_process(office, node):
    node.body = b"[" * 300_000
    office.use(node)

    assert "nested too deep" in office.register(503)["detail"]


def test_another_chain_behind_the_url_refuses_nothing(office, node):
    node.chain_id = 999
    node.answers["eth_estimateGas"] = Fault(3, "execution reverted", "0x")
    office.use(node)

    assert "node of chain 999" in office.register(503)["detail"]
    assert 0 == refusals(office)


def test_the_contracts_own_error_is_told_by_its_name(office, node):
    node.answers["eth_estimateGas"] = Fault(3, "execution reverted", "0xb28f75f3")
    office.use(node)

    assert "would refuse it: NoFeesHeld()." in office.register(422)["detail"]
    assert 1 == refusals(office)


def test_the_index_says_which_node_is_behind(office, node):
    height = office.story.height - 1
    node.head = height - 1
    node.answers["eth_estimateGas"] = Fault(3, "execution reverted", "0x")
    floor = last_indexed(office.writer, office.source)
    assert height == floor()
    with ScriptedNode(head=height) as level:
        office.use(node, level, indexed=floor)
        office.register(202)

    assert 0 == node.calls["eth_sendRawTransaction"]


def test_a_silent_node_keeps_neither_reads_nor_most_of_the_others_waiting(office, node):
    node.silent.set()
    office.use(node, at_once=2, timeout_seconds=10.0)
    tokens = [office.by(role) for role in list(office.people)[:1]] * 12
    office.client.get("/health/live")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: post(office), tokens))
        assert {503} == {each.status_code for each in answers}
        busy = [each for each in answers if "too many questions" in each.text]

    assert len(busy) >= 8
    assert node.requests <= 4


def post(office):
    return office.app.test_client().post(
        "/api/v1/commands/register-issuer",
        json=ISSUER,
        headers={
            "Authorization": f"Bearer {office.by('operator')}",
            "Idempotency-Key": str(uuid.uuid4()),
        },
    )


def test_a_contract_wallets_answer_is_bounded_too(node):
    node.body = b"[" * 300_000
    asked = {CHAIN_ID: Nodes.at([node.url], chain_id=CHAIN_ID, timeout_seconds=1.0)}

    with pytest.raises(Exception, match="does not answer; try again soon"):
        contract_call(asked)(CHAIN_ID, b"\1" * 20, b"")

    node.body = None
    node.answers["eth_call"] = Fault(3, "execution reverted", "0x")
    assert b"" == contract_call(asked)(CHAIN_ID, b"\1" * 20, b"")
    node.answers["eth_call"] = "0x" + "16" * 32
    assert b"\x16" * 32 == contract_call(asked)(CHAIN_ID, b"\1" * 20, b"")
