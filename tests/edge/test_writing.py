"""Calls and transactions at real Polygon Edge nodes: what their answers are worth."""

from __future__ import annotations

import time

import pytest
from eth_account import Account

from commands.errors import NodeAway, NodeOfOtherChain
from commands.evm.encode import explain_revert
from commands.evm.node import Mined, Reverted
from commands.evm.nodes.pool import Nodes
from commands.evm.reasons import why_failed
from db.commands.evm.failures import FailedCall
from devnet.deploy import dev_account, dev_key

pytestmark = [pytest.mark.chain, pytest.mark.edge]

GAS_PRICE = 10**9


@pytest.fixture
def nodes(network):
    return Nodes.at(network.urls, chain_id=100, timeout_seconds=20.0)


def address(index):
    return bytes.fromhex(dev_account(index)[2:])


def signed(index, nonce, *, price=GAS_PRICE, to=None, data=b"", gas=21_000):
    """A transaction of a development account: to itself, and for nothing."""
    content = {
        "nonce": nonce, "gasPrice": price, "gas": gas, "to": to or address(index),
        "value": 0, "data": data, "chainId": 100,
    }  # fmt: skip
    made = Account.sign_transaction(content, dev_key(index))
    return bytes(made.raw_transaction), bytes(made.hash)


def receipt(network, hash_, at=0):
    return network.nodes[at].rpc.call("eth_getTransactionReceipt", "0x" + hash_.hex())


def mined(network, hash_, at=0, seconds=40):
    deadline = time.monotonic() + seconds
    while (found := receipt(network, hash_, at)) is None:
        assert time.monotonic() < deadline, "it is in no block"
        time.sleep(0.1)
    return found


def withdraw(deployment):
    """A call that the contract refuses while it holds no fees: where, and what."""
    contract = deployment.contract("CampaignFactory")
    data = contract.interface.encode_call("withdrawFees")
    return bytes.fromhex(contract.address[2:]), bytes.fromhex(data[2:])


def test_the_contracts_own_error_is_found_in_a_trace(nodes, deployment):
    to, data = withdraw(deployment)

    with pytest.raises(Reverted) as caught:
        nodes.simulate(address(0), to, 0, data)

    assert "b28f75f3" == caught.value.data.hex()
    reason = explain_revert("CampaignFactory", caught.value.data, str(caught.value))
    assert "NoFeesHeld()" == reason


def test_a_call_that_failed_in_its_block_tells_why(nodes, network, deployment):
    to, data = withdraw(deployment)
    nonce = nodes.nonce(address(0))
    raw, hash_ = signed(0, nonce, to=to, data=data, gas=100_000)
    assert nodes.send(raw).accepted
    told = mined(network, hash_)
    assert "0x0" == told["status"]
    height, used = int(told["blockNumber"], 16), int(told["gasUsed"], 16)

    found = nodes.replay(Mined(address(0), to, 0, data, 100_000, height))
    assert "b28f75f3" == found.data.hex()
    call = FailedCall(address(0), to, 0, data, 100_000, used, height, b"")
    assert "NoFeesHeld()" == why_failed(nodes, call)


def test_a_node_without_the_contract_refuses_nothing(nodes, deployment):
    """As one that lags: its estimate fails for want of gas."""
    _, data = withdraw(deployment)

    with pytest.raises(NodeAway, match="not enough gas supplied"):
        nodes.simulate(address(0), b"\1" * 20, 0, data)


def test_a_replacement_is_answered_with_a_hash_and_dropped(nodes, network):
    nonce = nodes.nonce(address(5))
    first, hash_ = signed(5, nonce)
    second, other = signed(5, nonce, price=5 * GAS_PRICE)
    assert hash_ == nodes.send(first).hash
    answer = nodes.send(second)
    # Unless the first was in a block by then.
    assert other == answer.hash or "nonce too low" in answer.text

    mined(network, hash_)
    assert receipt(network, other) is None


def test_a_count_with_what_is_pending_is_that_without(nodes, network):
    nonce = nodes.nonce(address(6))
    nodes.send(signed(6, nonce + 1)[0])

    assert {nonce} == set(nodes.counts(address(6)).values())
    nodes.send(signed(6, nonce)[0])


def test_bytes_that_the_pool_has_are_taken(nodes, network):
    nonce = nodes.nonce(address(7))
    raw, _ = signed(7, nonce + 1)
    assert nodes.send(raw).hash is not None

    again = nodes.send(raw)

    assert again.accepted
    assert "already known" in again.text
    nodes.send(signed(7, nonce)[0])


def test_nodes_of_another_chain_are_not_believed(network):
    with pytest.raises(NodeOfOtherChain, match="a node of chain 100, not of 7"):
        Nodes.at(network.urls, chain_id=7).gas_price()


def test_nodes_behind_the_index_are_not_believed(network):
    ahead = Nodes.at(network.urls, chain_id=100, indexed=lambda: 10**6)

    with pytest.raises(NodeAway, match="and the index at 1000000"):
        ahead.gas_price()


@pytest.mark.parametrize("trouble", ["kill", "pause"])
def test_commands_go_on_without_the_first_node(network, trouble):
    nodes = Nodes.at(network.urls, chain_id=100, timeout_seconds=20.0)
    nonce = nodes.nonce(address(8))
    getattr(network, trouble)(0)
    try:
        raw, hash_ = signed(8, nonce)
        assert nodes.gas_price() > 0
        assert nodes.send(raw).accepted
        # A round of an absent proposer ends after 10 seconds, the next after 20, ...
        mined(network, hash_, at=1, seconds=150)
    finally:
        network.start(0) if trouble == "kill" else network.go_on(0)
        network.wait_for_height(network.height(1))
