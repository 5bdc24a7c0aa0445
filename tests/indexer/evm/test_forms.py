"""Odd but harmless forms of answers are read, and refusals keep the node's words."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from helpers.families import address as numbered
from helpers.families import facts, fetch, made, noted, source_for, transfer
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer, RpcFault
from indexer.errors import Retryable
from indexer.evm.client import CHAIN_ID
from indexer.rpc.answers import read_results
from indexer.rpc.endpoint import Denied, Endpoint


def small_chain():
    chain = FakeEvmChain()
    for n in range(1, 6):
        chain.mine(transfer(n), transfer(n + 10))
    return chain


def plain_numbers(method, params, result):
    """Numbers as numbers, in the places where they are read."""
    number = lambda text: int(text, 16)  # noqa: E731
    if method == "eth_getBlockByNumber" and result:
        keys = ("number", "timestamp")
        return {**result, **{key: number(result[key]) for key in keys}}
    if method == "eth_getLogs":
        keys = ("blockNumber", "transactionIndex", "logIndex")
        return [{**log, **{key: number(log[key]) for key in keys}} for log in result]
    return result


def test_numbers_for_hex_are_read():
    with FakeRpcServer(small_chain(), **EDGE) as node:
        expected = facts(fetch(node.url, 0, 5))
    with FakeRpcServer(small_chain(), alter=plain_numbers, **EDGE) as node:
        assert facts(fetch(node.url, 0, 5)) == expected


def endpoint():
    return Endpoint(
        "http://node.example", clock=lambda: 0.0, random=lambda: 0.5, max_inflight=1
    )


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":0,"result":"0x64"}',
        b'{"jsonrpc":"2.0","id":"0","result":"0x64"}',
        b'{"id":0,"result":"0x64","error":null,"extra":{"a":[1]}}',
        b' \n{"jsonrpc":"1.0","id":0,"result":"0x64"}\n',
    ],
)
def test_harmless_envelopes_are_read(body):
    assert read_results(endpoint(), [CHAIN_ID], body) == ["0x64"]


@pytest.mark.parametrize(
    "error",
    [
        {"code": "-32001", "message": "invalid api key"},
        {"code": -32001, "message": {"reason": "invalid api key"}},
        {"message": "invalid api key", "code": None},
        "invalid api key",
    ],
)
def test_errors_of_any_form_are_read_for_what_they_say(error):
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "error": error}).encode()

    with pytest.raises(Denied, match="invalid api key"):
        read_results(endpoint(), [CHAIN_ID], body)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body", ['{"error":{"message":"project id is unknown"}}', "project id is unknown"]
)
def test_a_refusal_by_http_says_why(status, body):
    """A body of JSON hid the status, and the operator was told the wrong cause."""

    async def go():
        async def refuse(_):
            return web.Response(status=status, text=body)

        app = web.Application()
        app.router.add_post("/{tail:.*}", refuse)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v3/SECRETKEY"
        try:
            source = source_for(url, attempts=1)
            try:
                await source.head()
            finally:
                await source.close()
        finally:
            await runner.cleanup()

    with pytest.raises(Retryable, match=f"HTTP {status}: project id is unknown") as bad:
        asyncio.run(go())
    assert "SECRETKEY" not in str(bad.value)


@pytest.mark.parametrize("most", [1, 2, 7])
@pytest.mark.parametrize("named", [True, False])
def test_how_many_addresses_an_endpoint_takes_is_learnt(most, named):
    kids = [numbered(n) for n in range(12)]
    chain = FakeEvmChain()
    chain.mine(*(made(kid) for kid in kids))
    chain.mine(*(noted(kid, n) for n, kid in enumerate(kids)))
    refused = []

    def limited(method, params, result):
        if method == "eth_getLogs":
            query = params[0]
            terms = [query.get("address") or [], *(query.get("topics") or [])]
            if any(isinstance(each, list) and len(each) > most for each in terms):
                refused.append(terms)
                text = "exceed max addresses or topics per search position"
                if named:
                    text = f"number of addresses exceeds the limit of {most}"
                raise RpcFault(-32602, text)
        return result

    with FakeRpcServer(chain, **EDGE) as node:
        expected = facts(fetch(node.url, 0, 2, mode="filtered"))
    with FakeRpcServer(chain, alter=limited, **EDGE) as node:
        assert facts(fetch(node.url, 0, 2, mode="filtered")) == expected
    assert len(refused) <= (2 if named else 6)
