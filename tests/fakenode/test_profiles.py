"""Profiles against what real nodes answered: recorded Edge, and anvil as it runs."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest

from fakenode.chain import FORMS
from fakenode.generate import grown
from fakenode.node import Node
from fakenode.profiles import PROFILES
from helpers.anvil import fresh_world
from helpers.recorded import recorded


def ask(node, method, *params):
    """The answer of a `Node` to one call, without its envelope."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    reply = json.loads(node.answer(json.dumps(body).encode()).body)
    assert reply.pop("jsonrpc") == "2.0"
    assert reply.pop("id") == 7
    return reply


def node_of(name, blocks=30, **options):
    profile = PROFILES[name]
    return Node(grown(FORMS[profile.form], seed=3, blocks=blocks), profile, **options)


def form(value):
    """The form of an answer: its members, and how values are written."""
    if isinstance(value, dict):
        return {name: form(each) for name, each in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    if isinstance(value, str) and value.startswith("0x"):
        digits = value[2:]
        if re.fullmatch(r"0|[1-9a-fA-F][0-9a-fA-F]*", digits) and len(digits) < 30:
            return "quantity"
        mixed = digits.lower() != digits
        return f"{len(digits) // 2} bytes{', mixed case' if mixed else ''}"
    return type(value).__name__


def alike(ours, theirs, *, but=()):
    """Whether two answers have one form; `but` names members that may differ."""
    ours, theirs = form(ours), form(theirs)
    assert sorted(ours) == sorted(theirs)
    for name, wanted in theirs.items():
        if name not in but and ours[name] != [] and wanted != []:
            assert ours[name] == wanted, name


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("edge-0.6", lambda: recorded("v063_ecdsa_block")["block"]),
        ("edge-0.9", lambda: recorded("v090_ecdsa_block_81")),
        ("edge-1.3", lambda: recorded("v131_bls_block")["block"]),
    ],
)
def test_blocks_have_the_form_that_real_edge_nodes_gave_them(name, block):
    theirs = block()
    full = isinstance(theirs["transactions"][0], dict)
    node = node_of(name)
    busy = next(b for b in node.chain.blocks if b.transactions and b.number > 1)
    ours = ask(node, "eth_getBlockByNumber", hex(busy.number), full)["result"]

    alike(ours, theirs, but=("transactions", "extraData"))
    if full:
        alike(
            ours["transactions"][0],
            theirs["transactions"][1],
            but=("input", "v", "r", "s", "to", "from"),
        )


def test_logs_and_receipts_have_the_form_that_a_real_edge_node_gave_them():
    node = node_of("edge-0.9")
    busy = next(b for b in node.chain.blocks if b.logs)
    height = hex(busy.number)
    query = {"fromBlock": height, "toBlock": height}
    [log, *_] = ask(node, "eth_getLogs", query)["result"]
    theirs = recorded("v090_logs_81")[0]
    alike(log, theirs, but=("topics", "data", "address"))

    sent = "0x" + busy.transactions[busy.logs[0][0]][0].hex()
    receipt = ask(node, "eth_getTransactionReceipt", sent)["result"]
    alike(
        receipt, recorded("v090_receipts_81")[0],
        but=("contractAddress", "to", "logs", "from"),
    )  # fmt: skip


def test_edge_refuses_in_the_words_and_codes_that_were_seen():
    node = node_of("edge-0.9", blocks=5)
    wide = {"fromBlock": "0x0", "toBlock": hex(1001)}

    assert ask(node, "eth_getLogs", wide)["error"] == {
        "code": -32600, "message": "block range too high",
    }  # fmt: skip
    assert ask(node, "eth_getLogs", wide | {"toBlock": hex(1000)})["result"]
    for tag in ("finalized", "safe"):
        error = ask(node, "eth_getBlockByNumber", tag, False)["error"]
        assert error == {"code": -32602, "message": "Invalid Params"}
    assert ask(node, "eth_getBlockReceipts", "0x1")["error"]["code"] == -32601
    assert json.loads(node.answer(b"[]").body) == []
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    refused = json.loads(node.answer(json.dumps([call] * 21).encode()).body)
    assert refused["error"]["code"] == -32600
    assert refused["id"] is None


def test_edge_passes_off_what_it_has_as_all_of_a_range_beyond_its_head():
    node = node_of("edge-0.9", blocks=8)
    whole = ask(node, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x8"})["result"]
    node.behind = 4
    cut = ask(node, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x8"})["result"]

    assert 0 < len(cut) < len(whole)
    assert ask(node, "eth_getBlockByNumber", "0x8", False) == {"result": None}


def test_geth_refuses_a_long_batch_in_an_array_of_one():
    node = node_of("geth", blocks=1)
    calls = [
        {"jsonrpc": "2.0", "id": at, "method": "eth_chainId", "params": []}
        for at in range(5, 1006)
    ]

    assert json.loads(node.answer(json.dumps(calls).encode()).body) == [
        {"jsonrpc": "2.0", "id": 5,
         "error": {"code": -32600, "message": "batch too large"}}
    ]  # fmt: skip


@pytest.fixture(scope="module")
def anvil():
    with fresh_world() as world:
        world.invest(world.campaign(), world.investors[0], 10**17)
        yield world.anvil.url


def ask_anvil(url, method, *params):
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        reply = json.load(answer)
    return {name: reply[name] for name in ("result", "error") if name in reply}


@pytest.mark.chain
@pytest.mark.parametrize("full", [False, True])
def test_blocks_have_the_form_that_anvil_gives_them(anvil, full):
    head = ask_anvil(anvil, "eth_blockNumber")["result"]
    theirs = ask_anvil(anvil, "eth_getBlockByNumber", head, full)["result"]
    node = node_of("anvil")
    busy = next(b for b in node.chain.blocks if b.transactions)
    ours = ask(node, "eth_getBlockByNumber", hex(busy.number), full)["result"]

    alike(ours, theirs, but=("transactions",))
    if full:
        alike(
            ours["transactions"][0], theirs["transactions"][0],
            but=("input", "v", "r", "s"),
        )  # fmt: skip


@pytest.mark.chain
def test_logs_and_receipts_have_the_form_that_anvil_gives_them(anvil):
    head = ask_anvil(anvil, "eth_blockNumber")["result"]
    node = node_of("anvil")
    busy = next(b for b in node.chain.blocks if b.logs)
    theirs = ask_anvil(anvil, "eth_getLogs", {"fromBlock": head, "toBlock": head})
    height = hex(busy.number)
    ours = ask(node, "eth_getLogs", {"fromBlock": height, "toBlock": height})
    alike(ours["result"][0], theirs["result"][0], but=("topics", "data"))

    [theirs, *_] = ask_anvil(anvil, "eth_getBlockReceipts", head)["result"]
    ours = ask(node, "eth_getBlockReceipts", height)["result"]
    at = busy.logs[0][0]
    alike(ours[at], theirs, but=("logs", "blobGasPrice"))


SAME = [
    ("eth_getBlockByNumber", ["0xffff", False]),
    ("eth_getBlockByNumber", ["nonsense", False]),
    ("eth_getBlockReceipts", ["0xffff"]),
    ("eth_getTransactionReceipt", ["0x" + "00" * 32]),
    ("eth_getLogs", [{"fromBlock": "0x5", "toBlock": "0x2"}]),
    ("eth_getLogs", [{"blockHash": "0x" + "11" * 32}]),
    ("eth_nothing", []),
    ("eth_syncing", []),
    ("eth_chainId", []),
    ("net_version", []),
    ("web3_clientVersion", []),
]


@pytest.mark.chain
@pytest.mark.parametrize(("method", "params"), SAME)
def test_questions_without_a_block_are_answered_as_by_anvil(anvil, method, params):
    assert ask(node_of("anvil"), method, *params) == ask_anvil(anvil, method, *params)


@pytest.mark.chain
def test_ranges_beyond_the_head_are_answered_as_by_anvil(anvil):
    node = node_of(
        "anvil", blocks=int(ask_anvil(anvil, "eth_blockNumber")["result"], 16)
    )
    beyond = {"fromBlock": "0xfff0", "toBlock": "0xffff"}
    across = {"fromBlock": "0x0", "toBlock": "0xffff"}

    assert ask(node, "eth_getLogs", beyond) == ask_anvil(anvil, "eth_getLogs", beyond)
    assert ask(node, "eth_getLogs", across)["result"]
    assert ask_anvil(anvil, "eth_getLogs", across)["result"]
