"""The conformance node behind real HTTP and WebSocket, and the verb that runs it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import aiohttp
import orjson
import pytest

from fakenode.chain import FORMS
from fakenode.faults import LAG, TRANSPORT, Faults
from fakenode.generate import Business, grown
from fakenode.node import Node
from fakenode.profiles import PROFILES
from fakenode.server import Server
from indexer.evm.blocks import block_call
from indexer.evm.client import RpcClient
from ops.cli import clone
from ops.errors import OperationError
from ops.ports import free_port


def edge(blocks=6, **options):
    chain = grown(FORMS["ibft-ecdsa"], seed=3, blocks=blocks)
    return Node(chain, PROFILES["edge-0.9"], **options)


def post(url, message):
    request = urllib.request.Request(url, orjson.dumps(message))
    with urllib.request.urlopen(request, timeout=5) as answer:
        return orjson.loads(answer.read())


def call(method, *params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}


def test_nodes_behind_one_address_answer_in_turn():
    ahead, behind = edge(), edge(behind=4)
    with Server([ahead, behind]) as server:
        heads = [post(server.url, call("eth_blockNumber"))["result"] for _ in range(4)]

    assert heads == ["0x6", "0x2", "0x6", "0x2"]


def test_faults_of_the_way_come_over_real_http_as_the_client_must_bear_them():
    kinds = (*TRANSPORT, *LAG)
    node = edge(faults=Faults(seed=3, share=0.6, kinds=kinds))
    with Server([node], hang_seconds=0.3) as server:

        async def ask():
            client = RpcClient([server.url], 31337, request_timeout_seconds=0.2,
                               sleep=_at_once, attempts=40)  # fmt: skip
            try:
                calls = [block_call(height) for height in range(5)]
                return [await client.call(each) for each in calls * 4]
            finally:
                await client.close()

        answers = asyncio.run(ask())

    assert [int(a.number, 16) for a in answers] == [0, 1, 2, 3, 4] * 4
    assert len(node.faulted) >= 5


async def _at_once(seconds):
    await asyncio.sleep(0)


def listen(server, subscription, mine, count):
    """What a subscriber hears of `count` blocks."""

    async def work():
        heard = []
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.url + "/ws") as socket,
        ):
            await socket.send_json(call("eth_blockNumber"))
            assert (await socket.receive_json())["result"]
            await socket.send_json(call("eth_subscribe", subscription))
            name = (await socket.receive_json())["result"]
            for _ in range(count):
                await asyncio.to_thread(mine)
            await socket.send_json(call("eth_unsubscribe", name))
            while True:
                told = await socket.receive_json()
                if told.get("method") != "eth_subscription":
                    assert told["result"] is True
                    return heard
                assert told["params"]["subscription"] == name
                heard.append(told["params"]["result"])

    return asyncio.run(work())


@pytest.mark.parametrize("lost_share", [0.0, 0.6])
def test_a_websocket_tells_new_heads_and_loses_repeats_and_makes_up_some(lost_share):
    node = edge()
    business = Business(node.chain, random.Random(1))
    with Server([node], lost_share=lost_share, seed=1) as server:
        heard = listen(
            server, "newHeads",
            lambda: server.notify(node.chain.mine(*business.block())), 30,
        )  # fmt: skip

    true = ["0x" + block.hash.hex() for block in node.chain.blocks[-30:]]
    told = [head["hash"] for head in heard]
    if not lost_share:
        assert told == true
        # Edge makes them of headers alone.
        assert all(head["transactions"] == [] for head in heard)
        return
    assert set(true) - set(told)
    assert set(told) - set(true)
    assert len(told) > len(set(told))
    assert {f"notice {f}" for f in ("lost", "repeated", "made up")} <= set(node.faulted)


def test_pushed_logs_of_an_old_edge_have_index_zero():
    node = edge()
    business = Business(node.chain, random.Random(2))
    with Server([node]) as server:
        heard = listen(
            server, "logs", lambda: server.notify(node.chain.mine(*business.block())), 8
        )

    assert len(heard) > 8
    assert {log["logIndex"] for log in heard} == {"0x0"}


def test_the_verb_serves_a_growing_chain():
    port = free_port()
    chainfold = Path(sys.executable).with_name("chainfold")
    process = subprocess.Popen(
        [chainfold, "devnet", "fakenode", "--profile", "geth", "--seed", "4",
         "--blocks", "5", "--port", str(port), "--block-time", "0.1"],
        stdout=subprocess.PIPE, text=True, cwd="/",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert "seed 4" in process.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        first = int(post(url, call("eth_blockNumber"))["result"], 16)
        for _ in range(100):
            if int(post(url, call("eth_blockNumber"))["result"], 16) > first:
                break
        assert post(url, call("web3_clientVersion"))["result"].startswith("Geth/")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(40)
    assert process.returncode == 0


@pytest.mark.parametrize("module", ["fakenode.run", "devnet.run", "examples.x"])
def test_without_a_clone_the_verb_names_the_remedy(monkeypatch, module):
    def absent(name):
        raise ModuleNotFoundError(name=name.split(".")[0])

    monkeypatch.setattr(clone.importlib, "import_module", absent)

    with pytest.raises(
        OperationError, match="clone the repository, run `make install`"
    ):
        clone.from_clone(module)
