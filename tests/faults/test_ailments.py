"""Faults are put into a chain's node, its database and its indexer; each must be named.

Every fault is played on a database and a node of its own, with a real follower, and
what `db.diagnosis` says is compared with what was done. CHAINFOLD_TEST_AILMENTS says
how often each kind is played.
"""

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from db import sources
from db.diagnosis import Ailment, diagnose, of_database
from db.engine import connect
from db.leases import acquire_follower_lease
from db.schema import migrate
from db.status import chain_status
from helpers import servers
from helpers.business import REGISTRY, open_business, play
from helpers.cut import Cable
from helpers.rpc import FakeEvmChain, FakeRpcServer, Faults, RpcFault
from indexer.follow import follow

TIMES = int(os.environ.get("CHAINFOLD_TEST_AILMENTS", "3"))
STALL_SECONDS = 1.0
SECONDS = 25.0

pytestmark = pytest.mark.slow


@dataclass
class Plant:
    """A follower at work, and everything that can be broken around it."""

    engine: object  # of the follower
    reader: object  # of whoever asks how it is; it goes the same way
    admin: object  # reaches the server whatever is broken
    cable: Cable
    chain: FakeEvmChain
    nodes: list
    rng: random.Random
    task: asyncio.Task | None = None
    undo: list = field(default_factory=list)

    @property
    def node(self):
        return self.nodes[0]

    def sql(self, statement):
        """As the operator of the server, on this plant's database."""
        with self.admin.connect() as connection:
            connection.exec_driver_sql(statement)

    def diagnosis(self):
        """What anybody who looks is told now."""
        try:
            with self.reader.connect() as connection:
                row = sources.find(connection, "fake")
                return diagnose(chain_status(connection, row.id)).ailment
        except SQLAlchemyError as error:
            return of_database(error)

    async def until(self, wanted):
        """Whether this is what is told within a while, and stays so."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self.diagnosis) is wanted:
                await asyncio.sleep(0.3)
                again = await asyncio.to_thread(self.diagnosis)
                if again is wanted:
                    return True
            await asyncio.sleep(0.05)
        return False


# What is wrong, by kind: functions that break something in a plant.


def makes_no_blocks(plant):
    return None  # nobody mines: all endpoints agree


def falls_back(plant):
    for node in plant.nodes:
        node.lags = (plant.rng.randrange(3, 9),)


def lacks_its_newest_block(plant):
    play(plant.chain, 3, seed=plant.rng.random())
    newest = hex(plant.chain.head)

    def alter(method, params, result):
        latest = params and params[0] == "latest"
        by_number = method == "eth_getBlockByNumber" and not latest
        return None if by_number and params[0] == newest else result

    plant.node.alter = alter


def says_header_not_found(plant):
    play(plant.chain, 3, seed=plant.rng.random())
    newest = hex(plant.chain.head)

    def alter(method, params, result):
        if method == "eth_getBlockByNumber" and params[0] == newest:
            raise RpcFault(-32000, "header not found")
        return result

    plant.node.alter = alter


def answers_with(kind):
    def broken(plant):
        plant.node.hang_seconds = 3.0
        for node in plant.nodes:
            node.faults = Faults(1, share=1.1, most=10**9, kinds=(kind,))

    broken.__name__ = f"answers_{kind}"
    return broken


def is_down(plant):
    for node in plant.nodes:
        node.down = True


def refuses_with(code, message):
    def broken(plant):
        def alter(method, params, result):
            raise RpcFault(code, message)

        plant.node.alter = alter

    broken.__name__ = f"refuses_{abs(code)}"
    return broken


def lies(name, change):
    """A node that changes the blocks or logs that it is asked for."""

    def broken(plant):
        def alter(method, params, result):
            if not isinstance(result, (dict, list)) or not result:
                return result
            return change(plant, method, result)

        plant.node.alter = alter
        play(plant.chain, 8, seed=plant.rng.random())

    broken.__name__ = name
    return broken


def _log(**other):
    def change(plant, method, result):
        if method != "eth_getLogs":
            return result
        return [{**result[0], **other}, *result[1:]]

    return change


def _block(**other):
    def change(plant, method, result):
        return {**result, **other} if method == "eth_getBlockByNumber" else result

    return change


def _other_parent(plant, method, result):
    if method != "eth_getBlockByNumber":
        return result
    return {**result, "parentHash": "0x" + plant.rng.randbytes(32).hex()}


def _fewer_logs(plant, method, result):
    return result[:-1] if method == "eth_getLogs" else result


def is_cut_off(plant):
    plant.cable.cut()
    plant.undo.append(plant.cable.mend)


def takes_no_connections(plant):
    name = plant.engine.url.database
    plant.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    plant.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{name}'"
    )
    plant.undo.append(
        lambda: plant.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    )


def has_no_room(*tables):
    def broken(plant):
        engine = create_engine(plant.admin.url.set(database=plant.engine.url.database))
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$"
                " BEGIN RAISE EXCEPTION 'could not extend file: No space left on"
                " device' USING ERRCODE = 'disk_full'; END $$"
            )
            for table in tables:
                connection.exec_driver_sql(
                    f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table}"
                    " FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
                )
        engine.dispose()
        play(plant.chain, 8, seed=plant.rng.random())

    broken.__name__ = f"no_room_in_{'_'.join(tables)}"
    return broken


def reads_slowly(plant):
    def alter(method, params, result):
        if method == "eth_getLogs":
            time.sleep(0.15)
        return result

    plant.node.alter = alter
    play(plant.chain, 600, seed=plant.rng.random())


def was_killed(plant):
    _halt(plant)
    _age(plant, "UPDATE control.follower SET seen_at = seen_at - interval '35 s'")


def hangs_in_a_step(plant):
    _halt(plant)  # its place is kept, as `ops.running` does for ten minutes
    _age(plant, "UPDATE control.source SET told_at = told_at - interval '6 min'")


def _halt(plant):
    """End the follower and the step that a thread of it still writes.

    A step that committed later would say that the follower is alive.
    """
    plant.task.get_loop().call_soon_threadsafe(plant.task.cancel)
    deadline = time.monotonic() + 10.0
    while not plant.task.done() or plant.engine.pool.checkedout():
        assert time.monotonic() < deadline, "the follower does not end"
        time.sleep(0.01)


def _age(plant, statement):
    with plant.engine.begin() as connection:
        connection.execute(text(statement))


FAULTS = {
    Ailment.CHAIN_HALTED: [makes_no_blocks, makes_no_blocks],
    Ailment.NODE_LAGGING: [falls_back, lacks_its_newest_block, says_header_not_found],
    Ailment.ENDPOINT_DOWN: [
        is_down,
        *(answers_with(k) for k in ("429", "500", "html", "truncated", "hang")),
        refuses_with(-32603, "internal error"), refuses_with(-32005, "limit exceeded"),
        refuses_with(-32000, "execution aborted"),
    ],
    Ailment.ENDPOINT_LYING: [
        lies("other_parent", _other_parent), lies("fewer_logs", _fewer_logs),
        lies("removed_log", _log(removed=True)),
        lies("log_of_another_block", _log(blockHash="0x" + "ab" * 32)),
        lies("log_of_another_height", _log(blockNumber="0xfffff")),
        lies("hash_cut", _block(hash="0x12")),
        lies("time_a_word", _block(timestamp="x")),
        lies("no_bloom", _block(logsBloom="0x" + "11" * 256)),
    ],
    Ailment.DATABASE_DOWN: [is_cut_off, takes_no_connections],
    Ailment.DISK_FULL: [
        has_no_room("control.block"), has_no_room("control.coverage"),
        has_no_room("control.source", "control.follower"),  # nor can it be recorded
    ],
    Ailment.CATCHING_UP: [reads_slowly, reads_slowly],
    Ailment.INDEXER_STUCK: [was_killed, hangs_in_a_step],
}  # fmt: skip
PLAYS = [
    (kind, fault, time_)
    for kind, faults in FAULTS.items()
    for fault in faults
    for time_ in range(TIMES * (2 if len(faults) < 4 else 1))
]


@pytest.fixture(scope="module")
def template(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        with servers.engine_on(url) as engine:
            migrate(engine, REGISTRY)
        yield make_url(url).database


async def examine(postgres_url, template, kind, fault, seed):
    """Play one fault; what was told in the end, and whether it healed."""
    rng = random.Random(f"{fault.__name__}/{seed}")
    chain = FakeEvmChain()
    play(chain, rng.randrange(10, 25), seed=rng.random())
    async with contextlib.AsyncExitStack() as stack:
        fresh = servers.fresh_database(postgres_url, template)
        url = make_url(await asyncio.to_thread(stack.enter_context, fresh))
        cable = Cable(url.port)
        stack.callback(cable.cut)
        through = url.set(port=cable.port).render_as_string(False)
        engine, reader = connect(through), connect(through)
        admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
        for each in (engine, reader, admin):
            stack.callback(each.dispose)
        count = rng.choice((1, 2)) if fault in SEVERAL else 1
        nodes = [stack.enter_context(FakeRpcServer(chain)) for _ in range(count)]
        opened = await stack.enter_async_context(
            open_business(
                engine, *(node.url for node in nodes), blocks_per_range=5,
                request_timeout_seconds=0.5,
            )
        )  # fmt: skip
        opened.guard = acquire_follower_lease(engine, opened.id).guard
        stop = asyncio.Event()
        plant = Plant(engine, reader, admin, cable, chain, nodes, rng)
        plant.task = asyncio.create_task(
            follow(opened, stop, poll_seconds=0.05, stall_seconds=STALL_SECONDS)
        )
        begun = await plant.until(Ailment.NONE) or kind is Ailment.CHAIN_HALTED
        await asyncio.to_thread(fault, plant)
        named = await plant.until(kind)
        told = kind if named else await asyncio.to_thread(plant.diagnosis)
        for undo in plant.undo:
            await asyncio.to_thread(undo)
        stop.set()
        await asyncio.wait([plant.task], timeout=20)
        return begun, told


SEVERAL = (makes_no_blocks, falls_back, is_down)


def test_the_faults_are_many_and_of_every_kind():
    assert len(PLAYS) >= 100
    assert {kind for kind, *_ in PLAYS} == set(Ailment) - {
        Ailment.NONE, Ailment.NOT_FOLLOWED, Ailment.STOPPED,
    }  # fmt: skip


@pytest.mark.parametrize("part", range(4))
def test_what_ails_a_chain_is_named(postgres_url, template, part):
    """Every one of them; the figure to reach is 99 of 100."""
    plays = PLAYS[part::4]

    async def go():
        some = asyncio.Semaphore(4)

        async def play_one(play_):
            async with some:
                kind, fault, seed = play_
                return await examine(postgres_url, template, kind, fault, seed)

        return await asyncio.gather(*(play_one(each) for each in plays))

    found = asyncio.run(go())
    wrong = Counter(
        (kind.value, fault.__name__, told.value, begun)
        for (kind, fault, _), (begun, told) in zip(plays, found, strict=True)
        if told is not kind
    )
    assert not wrong
