"""The nodes of a chain as the write side asks them, over real HTTP."""

import logging
import socket
import threading
import time

import pytest

from commands.errors import NodeAway, NodeOfOtherChain
from commands.evm.node import Mined, NoMoney, Reverted
from commands.evm.nodes.pool import Nodes
from commands.rpc import lookup
from commands.rpc.endpoint import NodeEndpoint, Question, too_deep
from helpers.scripted_node import Fault, ScriptedNode

SENDER, TO = b"\1" * 20, b"\2" * 20
CALL = (SENDER, TO, 0, b"\3" * 4)
SECRET = "5ecre7-k3y-of-the-pr0vider"
EDGE_REVERT = (
    "unable to apply transaction even for the highest gas limit 30000000: "
    "execution was reverted"
)


@pytest.fixture
def one():
    with ScriptedNode(path=f"/v3/{SECRET}") as node:
        yield node


@pytest.fixture
def two():
    with ScriptedNode() as node:
        yield node


def nodes(*given, **options):
    options = {"chain_id": 100, "timeout_seconds": 2.0, **options}
    urls = [getattr(each, "url", each) for each in given]
    clock = options.get("clock", time.monotonic)
    return Nodes([NodeEndpoint(url, clock) for url in urls], **options)


class TestWhichNodeAnswers:
    def test_the_next_when_the_first_is_dead(self, two):
        asked = nodes("http://127.0.0.1:9", two)

        assert 10**9 == asked.gas_price()
        assert 50_000 == asked.simulate(*CALL)
        assert asked.send(b"\5").accepted

    def test_a_silent_node_costs_its_part_of_the_time_once(self, one, two):
        one.silent.set()
        asked = nodes(one, two)
        asked.gas_price()

        for _ in range(5):
            asked.gas_price()

        assert 1 == one.requests
        assert 6 == two.calls["eth_gasPrice"]

    def test_a_name_that_is_looked_up_for_ever_costs_its_part_once(
        self, two, monkeypatch
    ):
        release, asked_for = threading.Event(), []

        def look_up(host, *_, **__):
            asked_for.append(host)
            release.wait(20)
            raise socket.gaierror("no such host")

        monkeypatch.setattr(lookup.socket, "getaddrinfo", look_up)
        lost = NodeEndpoint("http://nodes.invalid:8545")
        started = time.monotonic()
        try:
            for _ in range(3):
                with pytest.raises(NodeAway, match="did not answer in time"):
                    lost.ask([Question("eth_gasPrice")], 0.2)
        finally:
            release.set()

        assert time.monotonic() - started < 5
        assert ["nodes.invalid"] == asked_for

    def test_never_one_behind_the_index(self, one, two):
        one.head, two.head = 10, 271
        one.answers["eth_estimateGas"] = Fault(-32600, "invalid signature")

        assert 50_000 == nodes(one, two, indexed=lambda: 271).simulate(*CALL)
        with pytest.raises(NodeAway, match=r"at block 10, and the index at 271"):
            nodes(one, indexed=lambda: 271).simulate(*CALL)

    def test_never_one_of_another_chain(self, one, two):
        one.chain_id = 999
        one.answers["eth_estimateGas"] = Fault(3, "execution reverted", "0x")

        assert 50_000 == nodes(one, two).simulate(*CALL)
        with pytest.raises(NodeOfOtherChain, match="a node of chain 999, not of 100"):
            nodes(one).simulate(*CALL)
        with pytest.raises(NodeOfOtherChain):
            nodes(one).send(b"\5")

    def test_one_that_came_back_is_asked_first_again(self, one, two, caplog):
        clock = Clock()
        one.status, one.body = 502, b"<html>bad gateway</html>"
        asked = nodes(one, two, clock=clock)
        with caplog.at_level(logging.INFO):
            asked.gas_price()
            one.body = None
            clock.now += 60
            asked.gas_price()

        assert 1 == one.calls["eth_gasPrice"]
        assert ["node_paused", "node_recovered"] == [
            each.getMessage().split()[0] for each in caplog.records
        ]

    def test_a_node_without_batches_is_asked_singly(self, one):
        one.batches = False

        assert 10**9 == nodes(one).gas_price()


class TestSending:
    def test_the_same_bytes_go_to_every_node(self, one, two):
        answer = nodes(one, two).send(b"\5\6")

        assert answer.accepted
        assert ["0x0506"] == one.sent
        assert ["0x0506"] == two.sent

    def test_a_node_that_was_away_gets_them_too(self, one, two):
        asked = nodes(one, two)
        one.body = b"<html>"
        asked.gas_price()
        one.body = None

        asked.send(b"\5")

        await_true(lambda: one.sent == two.sent == ["0x05"])

    def test_one_that_takes_them_outweighs_one_that_does_not(self, one, two):
        one.answers["eth_sendRawTransaction"] = Fault(-32000, "txpool is full")
        assert nodes(one, two).send(b"\5").accepted

        two.answers["eth_sendRawTransaction"] = Fault(-32000, "already known")
        answer = nodes(one, two).send(b"\5")
        assert answer.accepted
        assert "already known" == answer.text

    def test_a_silent_node_does_not_keep_bytes_from_the_others(self, one, two):
        one.silent.set()
        asked = nodes(one, two)
        for number in range(20):
            asked.send(bytes([number]))

        assert 20 == len(two.sent)
        assert one.requests < 20


class TestBounds:
    def test_a_node_that_drips_is_given_up_in_time(self, one):
        one.drip_seconds = 0.2
        begun = time.monotonic()

        with pytest.raises(NodeAway, match="did not answer in time"):
            nodes(one, timeout_seconds=1.0).gas_price()

        assert time.monotonic() - begun < 30  # one byte each 0.2 s would be longer
        assert 1 == one.requests

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 300_000,
            b'[{"id":0,"result":' + b"[" * 300_000,
            b'{"a":' * 100_000,
            b'[{"id":"' + b"[" * 300_000,
        ],
    )
    def test_answers_nested_deep_are_no_answers(self, one, body):
        one.body = body

        with pytest.raises(NodeAway):
            nodes(one).gas_price()

    def test_text_full_of_brackets_is_not_deep(self):
        assert not too_deep(b'["' + b"[" * 1000 + b'\\"[[["]')
        assert too_deep(b'["\\""' + b",[" * 1000)

    def test_long_answers_are_no_answers(self, one):
        one.answers["eth_gasPrice"] = "0x" + "0" * (2 << 20)

        with pytest.raises(NodeAway, match="more than 1048576 bytes"):
            nodes(one).gas_price()

    @pytest.mark.parametrize(
        "result", [None, "0x" + "f" * 64, "0x", "", {}, [], True, -1, "0xzz", 1.5]
    )
    def test_estimates_that_are_no_amounts_of_gas(self, one, result):
        one.answers["eth_estimateGas"] = result

        with pytest.raises(NodeAway, match="answered eth_estimateGas"):
            nodes(one).simulate(*CALL)

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"[null]", b"<html>"])
    def test_answers_that_are_none(self, one, body):
        one.body = body

        with pytest.raises(NodeAway):
            nodes(one).send(b"\5")

    def test_so_many_ask_at_once_and_others_hear_so(self, one):
        one.silent.set()
        asked = nodes(one, at_once=3, timeout_seconds=20.0)
        told = []

        def ask():
            try:
                asked.gas_price()
            except NodeAway as error:
                told.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        await_true(lambda: len(told) == 7)
        assert {"too many questions wait for the node already: ask again soon"} == set(
            told
        )
        one.silent.clear()
        for thread in threads:
            thread.join()
        assert 7 == len(told)
        assert 10**9 == asked.gas_price()

    def test_one_asker_finds_out_whether_a_silent_node_is_back(self, one):
        one.silent.set()
        asked = nodes(one, timeout_seconds=1.0)
        with pytest.raises(NodeAway):
            asked.gas_price()
        told = []

        def ask():
            with pytest.raises(NodeAway) as caught:
                asked.gas_price()
            told.append(str(caught.value))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert 6 == len(told)
        assert one.requests < 7


class TestSecrets:
    @pytest.mark.parametrize(
        "trouble",
        [
            lambda node: node.stop(),
            lambda node: setattr(node, "body", f"no /v3/{SECRET}".encode()),
            lambda node: node.answers.update(
                eth_gasPrice=Fault(-32000, f"the key {SECRET} is over its quota")
            ),
            lambda node: node.answers.update(eth_gasPrice=f"/v3/{SECRET}"),
            lambda node: setattr(node, "chain_id", 7),
            lambda node: setattr(node, "head", 1),
        ],
    )
    def test_no_error_and_no_log_holds_the_secret_of_the_url(self, caplog, trouble):
        with ScriptedNode(path=f"/v3/{SECRET}") as node, caplog.at_level(0):
            asked = nodes(node, indexed=lambda: 5, timeout_seconds=1.0)
            trouble(node)
            with pytest.raises(NodeAway) as caught:
                asked.gas_price()
            try:
                said = asked.send(b"\5").text
            except NodeAway as error:
                said = str(error)

        assert SECRET not in str(caught.value) + said + caplog.text


class TestEstimates:
    """Only reverts are the contract's refusals."""

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(-32005, "limit exceeded"),
            Fault(-32005, "rate limited", {"see": "https://example.org"}),
            Fault(-32603, "internal error"),
            Fault(-32000, "execution aborted (timeout = 5s)"),
            Fault(-32000, "header not found"),
            Fault(-32601, "the method eth_estimateGas does not exist"),
            Fault(-32600, "invalid signature"),
            Fault(-32600, "not enough gas supplied for intrinsic gas costs"),
            Fault(-32000, "gas required exceeds allowance (30000000)"),
        ],
    )
    def test_errors_that_say_nothing_about_the_call(self, one, fault):
        one.answers["eth_estimateGas"] = fault

        with pytest.raises(NodeAway) as caught:
            nodes(one).simulate(*CALL)

        assert fault.message in str(caught.value)
        assert "{" not in str(caught.value)
        assert not isinstance(caught.value, NoMoney)

    def test_the_next_node_may_know_it(self, one, two):
        one.answers["eth_estimateGas"] = Fault(-32005, "limit exceeded")

        assert 50_000 == nodes(one, two).simulate(*CALL)

    @pytest.mark.parametrize(
        ("fault", "reason", "data"),
        [
            (Fault(3, "execution reverted", "0xb28f75f3"), "execution reverted",
             "b28f75f3"),
            (Fault(3, "execution reverted: Nope", "0x08c379a0"), "Nope", "08c379a0"),
            (Fault(-32000, "execution reverted: Nope"), "Nope", ""),
            (Fault(-32603, "Internal error", "0xb28f75f3"), "execution reverted",
             "b28f75f3"),
            (Fault(-32015, "VM execution error.", "Reverted 0xb28f75f3"),
             "execution reverted", "b28f75f3"),
            (Fault(-32000, "", {"data": "0xb28f75f3"}), "execution reverted",
             "b28f75f3"),
            (Fault(-32600, f"{EDGE_REVERT}: Nope"), "Nope", ""),
        ],
    )  # fmt: skip
    def test_reverts_in_all_their_forms(self, one, fault, reason, data):
        one.answers["eth_estimateGas"] = fault

        with pytest.raises(Reverted) as caught:
            nodes(one).simulate(*CALL)

        assert (reason, data) == (str(caught.value), caught.value.data.hex())

    def test_an_account_without_money_says_nothing_about_the_call(self, one):
        one.answers["eth_estimateGas"] = Fault(
            -32000, "insufficient funds for gas * price + value"
        )

        with pytest.raises(NoMoney, match="insufficient funds for gas"):
            nodes(one).simulate(*CALL)


class TestReasonsThatANodeDoesNotTell:
    """As Polygon Edge up to 0.9."""

    def test_what_the_contract_gave_back_is_found_in_a_trace(self, one):
        one.answers["eth_estimateGas"] = Fault(-32600, EDGE_REVERT)
        one.answers["eth_call"] = Fault(-32600, "execution was reverted")
        one.answers["debug_traceCall"] = {
            "failed": True, "gas": 31337, "returnValue": "b28f75f3", "structLogs": [],
        }  # fmt: skip

        with pytest.raises(Reverted) as caught:
            nodes(one).simulate(*CALL)

        assert bytes.fromhex("b28f75f3") == caught.value.data

    def test_a_call_tells_more_than_an_estimate(self, one):
        one.answers["eth_estimateGas"] = Fault(-32600, EDGE_REVERT)
        one.answers["eth_call"] = Fault(-32600, "execution was reverted: not yours")

        with pytest.raises(Reverted, match=r"^not yours$"):
            nodes(one).simulate(*CALL)

    def test_where_nothing_tells_it_says_so(self, one):
        one.answers["eth_estimateGas"] = Fault(-32600, EDGE_REVERT)
        one.answers["eth_call"] = Fault(-32600, "execution was reverted")
        one.answers["debug_traceCall"] = {"failed": False}

        with pytest.raises(Reverted, match="the node does not say why"):
            nodes(one).simulate(*CALL)


class TestReplays:
    MINED = Mined(SENDER, TO, 0, b"\3" * 4, 90_000, 7)

    def test_a_call_is_run_after_the_block_before_its_own(self, one):
        seen = []

        def call(asked, block):
            seen.append((asked["gas"], block))
            return Fault(3, "execution reverted", "0xb28f75f3")

        one.answers["eth_call"] = call

        found = nodes(one).replay(self.MINED)

        assert bytes.fromhex("b28f75f3") == found.data
        assert [(hex(90_000), "0x6")] == seen

    def test_where_a_node_wants_the_nonce_of_then_it_is_told_it(self, one):
        """Polygon Edge 0.9 does."""
        one.answers["eth_getTransactionCount"] = lambda _, block: block
        one.answers["eth_call"] = lambda asked, block: (
            Fault(-32600, "execution was reverted: then")
            if asked.get("nonce") == block
            else Fault(-32600, "incorrect nonce")
        )

        assert "then" == str(nodes(one).replay(self.MINED))

    def test_or_after_its_own_block_or_it_does_not_fail(self, one):
        one.answers["eth_call"] = lambda _, block: (
            "0x" if block == "0x6" else Fault(3, "execution reverted: late", "0x")
        )
        assert "late" == str(nodes(one).replay(self.MINED))

        one.answers["eth_call"] = "0x"
        assert nodes(one).replay(self.MINED) is None


def test_every_nodes_count_of_transactions(one, two):
    one.answers["eth_getTransactionCount"] = hex(100_000)
    two.answers["eth_getTransactionCount"] = lambda _, tag: (
        "0x9" if tag == "latest" else "0xb"
    )

    found = nodes(one, two).counts(SENDER)

    assert [100_000, 11] == list(found.values())


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def await_true(question, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.01)
