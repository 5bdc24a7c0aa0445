"""The client against nodes that refuse, lie, fall silent and come back."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer, Faults
from indexer.errors import Permanent, Retryable
from indexer.evm.blocks import block_call
from indexer.evm.client import RpcClient
from indexer.rpc.answers import Missing, RpcCall, RpcError, TooLarge
from indexer.rpc.endpoint import Health
from indexer.rpc.limits import EndpointLimits, MemoryLimitsStore
from indexer.rpc.messages import Malformed
from indexer.rpc.refusals import ErrorKind

NUMBER = RpcCall("eth_blockNumber", (), str)
SECRET = "s3cretkey42"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += max(seconds, 0.001)
        await asyncio.sleep(0)


def client_for(*urls: str, time: Time | None = None, **options: Any) -> RpcClient:
    time = time or Time()
    options.setdefault("random", lambda: 1.0)
    return RpcClient(urls, 31337, clock=time.clock, sleep=time.sleep, **options)


def run(client: RpcClient, work: Callable[[RpcClient], Any]) -> Any:
    async def whole() -> Any:
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(whole())


def chain_of(blocks: int) -> FakeEvmChain:
    chain = FakeEvmChain()
    chain.mine_many(blocks)
    return chain


def logs_call(first: int, last: int) -> RpcCall:
    query = {"fromBlock": hex(first), "toBlock": hex(last)}
    return RpcCall("eth_getLogs", (query,), list[Any], span=last - first + 1)


def test_a_batch_is_answered_in_order():
    with FakeRpcServer(chain_of(5)) as node:
        reply = run(
            client_for(node.url),
            lambda c: c.batch([block_call(3), NUMBER, block_call(1)]),
        )

    assert reply.results[0].number == "0x3"
    assert reply.results[1] == "0x5"
    assert reply.results[2].number == "0x1"


def test_the_chain_id_is_asked_once_per_endpoint():
    async def work(client):
        for _ in range(3):
            await client.call(NUMBER)

    with FakeRpcServer(chain_of(1)) as node:
        run(client_for(node.url), work)

        assert node.calls == {"eth_chainId": 1, "eth_blockNumber": 3}


def test_an_endpoint_on_another_chain_is_never_used_and_is_named():
    with (
        FakeRpcServer(chain_of(1), wrong_chain_id=5) as wrong,
        FakeRpcServer(chain_of(2)) as right,
    ):
        client = client_for(wrong.url, right.url)
        assert run(client, lambda c: c.call(NUMBER)) == "0x2"
        assert wrong.calls == {"eth_chainId": 1}
        assert [h for h, _ in client.verdicts().values()] == [
            Health.WRONG_CHAIN,
            Health.OK,
        ]

        alone = client_for(wrong.url)
        with pytest.raises(Permanent, match=r"127\.0\.0\.1:\d+ is on 5"):
            run(alone, lambda c: c.call(NUMBER))


def test_another_endpoint_steps_in_while_one_is_down(caplog):
    async def work(client):
        before = await client.call(NUMBER)
        first.down = True
        during = await client.call(NUMBER)
        first.down = False
        time.now += 60
        after = await client.call(NUMBER)
        return before, during, after

    time = Time()
    with FakeRpcServer(chain_of(1)) as first, FakeRpcServer(chain_of(2)) as second:
        client = client_for(first.url, second.url, time=time)

        assert run(client, work) == ("0x1", "0x2", "0x1")
        assert time.slept == []
        assert client.counters.failures == {"Unreachable": 1}
        labels = [each.label for each in client.endpoints]
        said = [r.getMessage() for r in caplog.records if "changed" in r.getMessage()]
        assert len(said) == 2
        assert f"from={labels[0]} to={labels[1]} cause={labels[0]}: " in said[0]
        assert f"from={labels[1]} to={labels[0]} cause=it is well" in said[1]


def test_when_every_endpoint_is_down_it_is_retryable_after_growing_pauses():
    time = Time()
    with FakeRpcServer(chain_of(1)) as node:
        node.down = True
        client = client_for(node.url, time=time, attempts=6)
        with pytest.raises(Retryable, match=r"127\.0\.0\.1.*check"):
            run(client, lambda c: c.call(NUMBER))

    assert time.slept == [pytest.approx(p) for p in (0.25, 0.5, 1.0, 2.0, 4.0)]


def test_pauses_have_full_jitter():
    time = Time()
    rolls = iter([0.1, 0.9, 0.0, 0.5])
    with FakeRpcServer(chain_of(1)) as node:
        node.down = True
        client = client_for(node.url, time=time, attempts=4, random=lambda: next(rolls))
        with pytest.raises(Retryable):
            run(client, lambda c: c.call(NUMBER))

    assert time.slept == [pytest.approx(p) for p in (0.025, 0.45)]


def test_retry_after_is_honoured():
    time = Time()
    faults = Faults(seed=1, share=1.0, most=1, kinds=["429"])
    with FakeRpcServer(chain_of(1), faults=faults) as node:
        node.retry_after = "7"
        client = client_for(node.url, time=time, random=lambda: 0.0)
        assert run(client, lambda c: c.call(NUMBER)) == "0x1"

    assert time.slept[0] == pytest.approx(7.0)
    assert client.counters.failures == {"Limited": 2}  # the chain id, and the call


@pytest.mark.parametrize("kind", ["500", "html", "truncated", "drop", "429"])
def test_trouble_of_every_kind_is_retried(kind):
    faults = Faults(seed=3, share=1.0, most=2, kinds=[kind])
    with FakeRpcServer(chain_of(9), faults=faults) as node:
        client = client_for(node.url)
        reply = run(client, lambda c: c.batch([block_call(n) for n in range(5)]))

        assert [block.number for block in reply.results] == [hex(n) for n in range(5)]
        assert node.faulted[kind] == 4


def test_a_silent_endpoint_times_out():
    faults = Faults(seed=3, share=1.0, most=1, kinds=["hang"])
    with FakeRpcServer(chain_of(9), faults=faults) as node:
        client = client_for(node.url, request_timeout_seconds=0.1)
        assert run(client, lambda c: c.call(NUMBER)) == "0x9"

    assert client.counters.failures == {"TimedOut": 2}


def answers(change: Callable[[list[dict]], Any], calls: list[RpcCall]) -> Any:
    """What comes of a batch whose answer was changed on its way."""
    with FakeRpcServer(chain_of(5)) as node:
        original = node._answer
        node._answer = lambda message, fault: (
            change(original(message, fault))
            if isinstance(message, list)
            else original(message, fault)
        )
        return run(client_for(node.url, attempts=2), lambda c: c.batch(calls))


@pytest.mark.parametrize(
    "change",
    [
        lambda got: got[:1],
        lambda got: [got[0], got[0]],
        lambda got: [got[0], {**got[1], "id": 0}],
        lambda got: [got[0], {**got[1], "id": "0x1"}],
        lambda got: [got[0], {**got[1], "id": None}],
        lambda got: [*got, {**got[1], "id": 2}],
        lambda got: [got[0], {"jsonrpc": "2.0", "id": 1}],
        lambda got: [got[0], {**got[1], "result": 17}],
        lambda got: [got[0], {**got[1], "result": {"number": "0x1"}}],
        lambda got: [{**got[0], "result": "0x"}, got[1]],
        lambda got: {"jsonrpc": "2.0", "id": None, "result": []},
        lambda got: "nonsense",
        lambda got: None,
    ],
    ids=[
        "short", "doubled", "same id", "other text id", "null id", "extra", "no result",
        "number", "missing members", "text for a block", "object", "text", "null",
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_is_never_believed(change):
    with pytest.raises(Malformed):
        answers(change, [block_call(1), block_call(2)])


def test_results_in_another_order_are_matched_by_id():
    reply = answers(lambda got: got[::-1], [block_call(1), block_call(2)])

    assert [block.number for block in reply.results] == ["0x1", "0x2"]


def test_a_null_where_there_must_be_a_value_is_never_nothing():
    with FakeRpcServer(chain_of(5)) as node:
        client = client_for(node.url, attempts=3)
        with pytest.raises(Missing):
            run(client, lambda c: c.call(block_call(6)))
        assert node.calls["eth_getBlockByNumber"] == 3

        nullable = block_call(6, nullable=True)
        assert run(client_for(node.url), lambda c: c.call(nullable)) is None


def test_an_edge_node_refuses_at_most_twice_in_its_life():
    """Its limits are learnt from its words, and kept for the next process."""
    store = MemoryLimitsStore()

    async def work(client):
        await asyncio.gather(
            *(client.batch([block_call(n) for n in range(60)]) for _ in range(4))
        )
        for first in (0, 200):
            with contextlib.suppress(TooLarge):
                await client.call(logs_call(first, first + 2000))
        await client.call(logs_call(0, 1000))

    with FakeRpcServer(chain_of(3000), **EDGE) as node:
        run(client_for(node.url, limits_store=store), work)
        assert node.refused == 2
        run(client_for(node.url, limits_store=store), work)
        assert node.refused == 2

        (limits,) = store._limits.values()
        assert limits == EndpointLimits(max_range=1001, max_batch=20)


def test_limits_are_kept_under_a_name_without_secrets():
    store = MemoryLimitsStore()
    with FakeRpcServer(chain_of(60), max_batch=20) as node:
        url = node.url.replace("127.", f"user:{SECRET}@127.") + f"/v2/{SECRET}"
        calls = [block_call(n) for n in range(30)]
        run(client_for(url, limits_store=store), lambda c: c.batch(calls))

    (name,) = store._limits
    assert name.startswith("127.0.0.1:")
    assert SECRET not in name


def test_a_batch_limit_that_is_not_named_is_found_by_halving():
    def refuse(message, fault):
        if isinstance(message, list) and len(message) > 7:
            return {"id": None, "error": {"code": -32600, "message": "no."}}
        return original(message, fault)

    with FakeRpcServer(chain_of(60)) as node:
        original, node._answer = node._answer, refuse
        client = client_for(node.url)
        reply = run(client, lambda c: c.batch([block_call(n) for n in range(40)]))

    assert len(reply.results) == 40
    assert client.endpoints[0].limits.max_batch == 5


def test_an_error_that_was_not_the_batch_size_leaves_no_limit():
    def refuse(message, fault):
        if isinstance(message, dict) and message["method"] == "eth_chainId":
            return original(message, fault)
        return {"id": None, "error": {"code": -32600, "message": "no such thing"}}

    store = MemoryLimitsStore()
    with FakeRpcServer(chain_of(60)) as node:
        original, node._answer = node._answer, refuse
        client = client_for(node.url, limits_store=store)
        with pytest.raises(RpcError, match="no such thing"):
            run(client, lambda c: c.batch([block_call(n) for n in range(40)]))

    assert client.endpoints[0].limits == EndpointLimits()
    assert store._limits == {}


def test_a_known_range_limit_is_not_tried_again():
    async def work(client):
        for _ in range(3):
            with pytest.raises(TooLarge):
                await client.call(logs_call(0, 1500))

    with FakeRpcServer(chain_of(2000), max_range=1000, range_text="exceed maximum "
                       "block range: 1000") as node:  # fmt: skip
        client = client_for(node.url)
        run(client, work)

        assert node.refused == 1
        assert client.limits().max_range == 1000


def test_words_nobody_knows_twice_over_suggest_a_smaller_range():
    with FakeRpcServer(chain_of(200), max_range=50, range_text="no way") as node:
        client = client_for(node.url)
        with pytest.raises(TooLarge) as caught:
            run(client, lambda c: c.call(logs_call(0, 99)))

    assert caught.value.guessed
    assert client.limits().max_range is None


def test_a_range_that_times_out_twice_is_asked_for_in_parts():
    kinds = ["hang"]
    with FakeRpcServer(chain_of(90)) as node:
        node.hang_seconds = 0.3
        client = client_for(node.url, request_timeout_seconds=0.05)

        async def work(client):
            await client.call(NUMBER)
            node.faults = Faults(seed=3, share=1.0, most=5, kinds=kinds)
            await client.call(logs_call(0, 9))

        with pytest.raises(TooLarge) as caught:
            run(client, work)

    assert caught.value.refusal is ErrorKind.TIMEOUT


def test_requests_that_fail_together_count_as_one_failure():
    async def work(client):
        await client.call(NUMBER)
        node.faults = Faults(seed=3, share=1.0, most=1, kinds=["500"])
        await asyncio.gather(*(client.call(block_call(n)) for n in range(8)))

    with FakeRpcServer(chain_of(9)) as node:
        time = Time()
        client = client_for(node.url, time=time)
        run(client, work)

    assert client.counters.failures == {"Unreachable": 8}
    assert max(time.slept) <= 0.5


def test_a_method_that_is_not_there_is_an_error_at_once():
    with FakeRpcServer(chain_of(2)) as node:
        client = client_for(node.url)
        with pytest.raises(RpcError, match="eth_getProof"):
            run(client, lambda c: c.call(RpcCall("eth_getProof", (), str)))
        assert node.calls["eth_getProof"] == 1


def test_an_endpoint_that_is_behind_is_asked_last():
    async def work(client):
        for endpoint, head in zip(client.endpoints, (10, 40), strict=True):
            client.saw_head(endpoint, head)
        reply = await client.batch([block_call(35)], height=35)
        return reply.endpoint

    with FakeRpcServer(chain_of(10)) as behind, FakeRpcServer(chain_of(40)) as ahead:
        client = client_for(behind.url, ahead.url)
        assert run(client, work) is client.endpoints[1]
        assert client.endpoints[0].health is Health.LAGGING
        assert behind.requests == 0


def test_no_secret_of_a_url_is_ever_shown():
    url = f"http://user:{SECRET}@127.0.0.1:9/v2/{SECRET}?key={SECRET}"
    client = client_for(url, attempts=2)

    with pytest.raises(Retryable) as caught:
        run(client, lambda c: c.call(NUMBER))

    shown = "".join(traceback.format_exception(caught.value))
    shown += repr(client) + repr(client.endpoints) + repr(client.verdicts())
    assert SECRET not in shown
    assert "127.0.0.1:9" in shown


def test_a_node_that_repeats_the_key_does_not_leak_it():
    def tell(message, fault):
        error = {
            "code": -32000,
            "message": f"key {SECRET} is not allowed: /v2/{SECRET}",
        }
        return {"id": 0, "error": error}

    with FakeRpcServer(chain_of(1)) as node:
        node._answer = tell
        client = client_for(f"{node.url}/v2/{SECRET}", attempts=1)
        with pytest.raises(Retryable) as caught:
            run(client, lambda c: c.call(NUMBER))

    assert SECRET not in str(caught.value)


def test_no_endpoint_at_all_is_said_at_once():
    with pytest.raises(Permanent, match="no endpoint"):
        RpcClient([], 1)


def test_a_storm_of_every_fault_loses_nothing():
    """Seeded trouble for half of all requests: every answer still arrives, whole."""
    for seed in range(5):
        faults = Faults(
            seed, share=0.5, kinds=("429", "500", "html", "truncated", "drop")
        )
        with FakeRpcServer(chain_of(300), faults=faults, **EDGE) as node:
            client = client_for(node.url, attempts=24)
            reply = run(client, lambda c: c.batch([block_call(n) for n in range(300)]))

            assert [b.number for b in reply.results] == [hex(n) for n in range(300)]
            assert sum(node.faulted.values()) > 3
