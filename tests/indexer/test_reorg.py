"""Finding the fork when few blocks are remembered, and when the source is unsure."""

import asyncio

import pytest
from sqlalchemy import text

from db import blocks, sources
from db.blocks import Header
from db.schema import migrate
from helpers.business import PEOPLE, REGISTRY, TOKEN, Moved, open_business, play
from helpers.following import catch_up, check
from helpers.rpc import FakeEvmChain, FakeRpcServer, log_for
from indexer.errors import Retryable
from indexer.evm.finality import Depth
from indexer.follow import Reorged, step
from indexer.reorg import FinalityViolated, find_fork
from indexer.writer import rewind


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


@pytest.fixture
def source(engine):
    with engine.begin() as connection:
        return sources.register(
            connection, name="fake", chain_id="eip155:31337", ordinals="rank"
        ).id


def moved(value=1):
    people = {"from": PEOPLE[0], "to": PEOPLE[1]}
    return log_for(Moved, TOKEN, **people, value=value)


def header_of(block, salt=b""):
    own = block.hash if not salt else salt * 32
    return Header(block.number, own, block.parent_hash, block.time)


def remember(engine, source, headers):
    with engine.begin() as connection:
        blocks.remember(connection, source, headers)


def fork_of(engine, source, url, *, final=-1, suspect, only=()):
    """The fork that is found; with `only`, when nothing but these is remembered."""

    async def go():
        async with open_business(engine, url) as chain:
            if only:
                with engine.begin() as connection:
                    blocks.forget_from(connection, source, 0)
                remember(engine, source, only)
            return await find_fork(engine, chain.source, source, final, suspect)

    return asyncio.run(go())


@pytest.mark.parametrize("fact_at", [61, 75, 85])
def test_what_the_fork_has_in_blocks_that_nobody_remembers_is_read(engine, fact_at):
    """With filtered logs only blocks with facts and the ends of ranges are kept."""
    fake = FakeEvmChain()
    fake.mine(moved())
    fake.mine_many(99)

    async def go(url):
        async with open_business(
            engine, url, mode="filtered", finality=Depth(60), blocks_per_range=100
        ) as chain:
            await catch_up(chain)
            fake.reorg(40, 0)
            while fake.head < 101:
                fake.mine(*[moved(7)] * (fake.head + 1 == fact_at))
            return await catch_up(chain)

    with FakeRpcServer(fake) as node:
        outcomes = asyncio.run(go(node.url))

    assert [o for o in outcomes if isinstance(o, Reorged)]
    check(engine, fake)


def test_the_fork_of_a_remembered_tip_is_above_the_last_block_both_have(engine, source):
    fake = FakeEvmChain()
    fake.mine_many(50)
    remember(engine, source, [header_of(fake.blocks[at]) for at in (3, 20)])
    remember(engine, source, [header_of(fake.blocks[at], b"x") for at in (40, 50)])

    with FakeRpcServer(fake) as node:
        assert fork_of(engine, source, node.url, suspect=50) == 21
        assert fork_of(engine, source, node.url, suspect=50, final=30) == 31
        with pytest.raises(FinalityViolated):
            fork_of(engine, source, node.url, suspect=50, final=40)


def test_with_no_block_in_common_all_that_is_not_final_is_read_anew(engine, source):
    fake = FakeEvmChain()
    fake.mine_many(50)
    only = [header_of(fake.blocks[40], b"x")]

    with FakeRpcServer(fake) as node:
        assert fork_of(engine, source, node.url, suspect=40, only=only) == 0
        assert fork_of(engine, source, node.url, suspect=40, final=12, only=only) == 13


def test_a_fork_below_blocks_that_are_right_is_found(engine, source):
    """Written by another process from another fork, before these were."""
    fake = FakeEvmChain()
    fake.mine_many(50)
    remember(engine, source, [header_of(fake.blocks[at]) for at in (10, 40, 50)])
    remember(engine, source, [header_of(fake.blocks[at], b"x") for at in (20, 30)])

    with FakeRpcServer(fake) as node:
        assert fork_of(engine, source, node.url, suspect=30) == 11
        assert fork_of(engine, source, node.url, suspect=19) == 11


def test_a_fork_deeper_than_a_page_is_found(engine, source):
    fake = FakeEvmChain()
    fake.mine_many(200)
    remember(engine, source, [header_of(block) for block in fake.blocks[:20]])
    remember(engine, source, [header_of(block, b"x") for block in fake.blocks[20:]])

    with FakeRpcServer(fake) as node:
        assert fork_of(engine, source, node.url, suspect=200) == 20


def test_blocks_that_the_source_lacks_prove_nothing(engine, source):
    fake = FakeEvmChain()
    fake.mine_many(50)
    remember(engine, source, [header_of(block) for block in fake.blocks])
    fake.truncate(45)

    with FakeRpcServer(fake) as node, pytest.raises(Retryable, match="lacks|again"):
        fork_of(engine, source, node.url, suspect=50)


def test_a_head_that_only_one_answer_has_changes_nothing(engine):
    """Two nodes behind one address, one of them on a fork of its own."""
    fake = FakeEvmChain()
    play(fake, 30, seed=51)
    odd = []

    def alter(method, params, result):
        if odd and method == "eth_getBlockByNumber" and params[0] == "latest":
            return {**result, "hash": "0x" + "ab" * 32}
        return result

    async def go(url):
        async with open_business(engine, url, finality=Depth(10)) as chain:
            await catch_up(chain)
            odd.append(True)
            with pytest.raises(Retryable):
                await catch_up_once(chain)
            odd.clear()
            return await catch_up(chain)

    with FakeRpcServer(fake, alter=alter) as node:
        outcomes = asyncio.run(go(node.url))

    assert not [o for o in outcomes if isinstance(o, Reorged)]
    check(engine, fake)


async def catch_up_once(chain):
    outcome = await step(chain)
    raise AssertionError(f"the loop would go round at once: {outcome}")


def test_finality_is_not_recorded_beyond_what_is_written(engine):
    """A head that an endpoint made up must not make every block final for ever."""
    fake = FakeEvmChain()
    play(fake, 30, seed=52)
    lying = [True]

    def alter(method, params, result):
        if lying and method == "eth_getBlockByNumber" and params[0] == "latest":
            return {**result, "number": hex(10**9)}
        return result

    async def go(url):
        async with open_business(engine, url, finality=Depth(10)) as chain:
            with pytest.raises(Retryable):
                await catch_up_once(chain)
        lying.clear()
        async with open_business(engine, url, finality=Depth(10)) as chain:
            await catch_up(chain)
            fake.reorg(4, 6)
            return await catch_up(chain)

    with FakeRpcServer(fake, alter=alter) as node:
        outcomes = asyncio.run(go(node.url))

    assert [o.height for o in outcomes if isinstance(o, Reorged)] == [27]
    check(engine, fake)
    with engine.connect() as connection:
        final = connection.scalar(text("SELECT final FROM control.source"))
    assert final == fake.head - 10


@pytest.mark.parametrize("final", [50, 30])
@pytest.mark.parametrize("mode", ["all", "filtered"])
@pytest.mark.parametrize("head", [5, 20, 49])
def test_a_chain_started_anew_is_found_at_once_and_one_rewind_ends_it(
    engine, mode, head, final
):
    """Polygon Edge's block 0 is the same on both, and the new head is far lower."""
    fake = FakeEvmChain()
    fake.mine(moved())
    fake.mine_many(46)
    fake.mine(moved(2))
    fake.mine_many(2)
    finality = Depth(50 - final)

    async def go(url):
        async with open_business(
            engine, url, mode=mode, finality=finality, blocks_per_range=25
        ) as chain:
            await catch_up(chain)
            fake.reorg(50, 0)
            fake.mine(moved(3))
            while fake.head < head:
                fake.mine()
            with pytest.raises(FinalityViolated) as caught:
                await catch_up(chain)
            return str(caught.value)

    with FakeRpcServer(fake) as node:
        message = asyncio.run(go(node.url))
        height = int(message.split("`chainfold rewind fake ")[1].split("`")[0])
        assert height == 1
        with engine.begin() as connection:
            source = sources.find(connection, "fake").id
        rewind(engine, REGISTRY, source, height)
        with engine.begin() as connection:
            sources.reset_from(connection, source, height)

        async def again(url):
            async with open_business(
                engine, url, mode=mode, finality=finality
            ) as chain:
                return await catch_up(chain)

        asyncio.run(again(node.url))
    check(engine, fake)


def test_the_lowest_final_block_that_differs_is_named(engine, source):
    fake = FakeEvmChain()
    fake.mine_many(200)
    remember(engine, source, [header_of(block) for block in fake.blocks[:77]])
    remember(engine, source, [header_of(block, b"x") for block in fake.blocks[90:]])

    with FakeRpcServer(fake) as node:
        with pytest.raises(FinalityViolated, match=r"block 90 .*rewind fake 77`"):
            fork_of(engine, source, node.url, suspect=200, final=200)
        assert node.calls["eth_getBlockByNumber"] < 20
