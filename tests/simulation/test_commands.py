"""The write side under seeded schedules of everything that goes wrong.

Our own modules run on a real Postgres against a chain that loses, forgets and undoes;
several workers are interleaved between any two of their steps and dropped anywhere.
After each schedule: no command ran twice, none is told otherwise than the chain has it,
none is stuck. `MUTATIONS` are bugs planted in the rules: each must be found.
"""

import os
import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

import commands.work as work_module
import db.commands.resolve as resolve_module
from commands.work import Desk, Policy, work
from db import sources
from db.commands.accept import Request, accept, cancel
from db.commands.attempts import AttemptRow
from db.commands.slots import register_signer
from db.commands.states import IllegalMove
from db.engine import connect
from db.schema import migrate
from helpers import servers
from helpers.business import REGISTRY
from helpers.mempool import JsonSigner, MempoolChain

SEEDS = int(os.environ.get("CHAINFOLD_TEST_SCHEDULES", "25"))
ADDRESS = b"\x5e" * 20
STEPS, QUIET_STEPS = 160, 900
ENDS = {"succeeded", "reverted", "cancelled", "expired"}


class World:
    """One schedule: a chain, a database, workers, and a seed that decides all."""

    def __init__(self, engine, seed, commands=5):
        self.engine, self.rng = engine, random.Random(seed)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.finality = 4
        self.chain = MempoolChain(self.rng, ADDRESS)
        empty(engine)
        with engine.begin() as connection:
            row = sources.register(
                connection, name="sim", chain_id="eip155:1", ordinals="rank"
            )
            self.source = row.id
            register_signer(
                connection, name="s", source_id=row.id, address=ADDRESS,
                next_nonce=0, gate_height=0, max_in_flight=4,
            )  # fmt: skip
            self.ids = [
                accept(
                    connection, self.request(number, row.id), self.now,
                    command_id=uuid.UUID(int=number + 1),
                )[0].id
                for number in range(commands)
            ]  # fmt: skip
        policy = Policy(
            chain_id=1, gas_price_min=1,
            rebroadcast_after=timedelta(seconds=4), bump_after=timedelta(seconds=12),
        )  # fmt: skip
        signer = JsonSigner("s", ADDRESS)
        self.desk = Desk(engine, signer, self.chain, policy, lambda: self.now)
        self.workers = []

    def request(self, number, source):
        return Request(
            tenant="t", idempotency_key=str(number), kind="Test",
            arguments={"n": number}, source=source, signer="s", target=b"\x01" * 20,
            data=bytes([number + 1]) * 8, value=0, gas_limit=100_000,
            valid_until=self.now + timedelta(hours=9) if number % 2 else None,
        )  # fmt: skip

    def play(self):
        for step in range(STEPS + QUIET_STEPS):
            quiet = step >= STEPS
            self.chain.faults = not quiet
            self.now += timedelta(seconds=1)
            self.act(self.rng.random(), quiet=quiet)
            if quiet and step % 20 == 0 and self.done():
                return

    def act(self, roll, *, quiet):
        chain, rng = self.chain, self.rng
        if roll < 0.16:
            chain.mine()
        elif roll < 0.34:
            chain.index(self.engine, self.source, finality=self.finality)
        elif not quiet and roll < 0.37:
            chain.reorg(rng.randrange(1, 4))
        elif not quiet and roll < 0.39:
            forgotten = list(chain.pool) if rng.random() < 0.5 else list(chain.pool)[:1]
            for nonce in forgotten:
                chain.pool.pop(nonce)
        elif not quiet and roll < 0.41:
            chain.outside()
        elif not quiet and roll < 0.43:
            with self.engine.begin() as connection:
                cancel(connection, rng.choice(self.ids), self.now)
        elif not quiet and roll < 0.45:
            chain.base = 8 + rng.randrange(12)
        elif not quiet and roll < 0.50 and self.workers:
            self.workers.pop(rng.randrange(len(self.workers)))  # it crashed here
        elif len(self.workers) < 4 and roll < 0.58:
            self.workers.append(work(self.desk))
        elif self.workers:
            at = rng.randrange(len(self.workers))
            if next(self.workers[at], None) is None:
                self.workers.pop(at)

    def states(self):
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT id, state FROM control.command"))
            return {row.id: row.state for row in rows}

    def done(self):
        return set(self.states().values()) <= ENDS

    def problems(self):
        """What is not as it must be."""
        found = []
        ran = [tx["data"] for block in self.chain.blocks for tx in block]
        states = self.states()
        for number, command in enumerate(self.ids):
            times = ran.count((bytes([number + 1]) * 8).hex())
            state = states[command]
            if times > 1:
                found.append(f"command {number} ran {times} times")
            if state == "succeeded" and not times:
                found.append(f"command {number} is told as succeeded and never ran")
            if state in ("cancelled", "expired") and times:
                found.append(f"command {number} is told as {state} and ran")
            if state not in ENDS:
                found.append(f"command {number} is stuck as {state}")
        return found


def empty(engine):
    with engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE control.command_event, control.attempt, control.slot,"
                " control.command, control.signer, control.sender_transaction,"
                " control.coverage, control.source RESTART IDENTITY"
            )
        )


@pytest.fixture(scope="module")
def engine(postgres_url):
    with (
        servers.fresh_database(postgres_url) as url,
        servers.engine_on(url) as scratch,
    ):
        migrate(scratch, REGISTRY)
        scratch.dispose()
        engine = connect(url)
        yield engine
        engine.dispose()


def run(engine, seed, **changes):
    world = World(engine, seed)
    for name, value in changes.items():
        setattr(world, name, value)
    world.play()
    return world.problems()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_schedule_makes_a_command_run_twice_lie_or_stick(engine):
    failed = {}
    for seed in range(SEEDS):
        if found := run(engine, seed):
            failed[seed] = found

    assert failed == {}


def never(*_, **__):
    return False


def forget(original):
    """Bytes that leave without having been stored."""

    def record(connection, **values):
        values.pop("now")
        return AttemptRow(
            number=1, sent_count=0, sent_at=None, signed_at=datetime.now(UTC),
            hash=values.pop("hash_"), **values,
        )  # fmt: skip

    return record


def with_final(original):
    """Whatever is in the index passes for final."""

    def found(connection, signer):
        used = original(connection, signer)
        return {nonce: replace(each, final=True) for nonce, each in used.items()}

    return found


def hopeful(original):
    """A nonce that is used is a nonce that we used."""

    def resolution(ours, found):
        return original(ours or "call", found)

    return resolution


def trusting_cancel(original):
    """What was to be cancelled was cancelled."""

    def finish(connection, owner, locked, found, resolution, now):
        told = "cancelled" if locked.closing else resolution
        return original(connection, owner, locked, found, told, now)

    return finish


def no_nonce_again(original):
    """A command that lost its nonce is left where it is."""

    def finish(connection, owner, locked, found, resolution, now):
        if resolution != "lost":
            original(connection, owner, locked, found, resolution, now)

    return finish


def flat_price(original):
    """A replacement offers what the attempt before it did."""

    def price(desk, attempts):
        return attempts[0].gas_price if attempts else original(desk, attempts)

    return price


MUTATIONS = {
    "resolved before it is final": (resolve_module, "consumed", with_final),
    "sent before it is stored": (work_module, "record_attempt", forget),
    "a foreign transaction is taken for ours": (
        resolve_module, "_resolution", hopeful,
    ),
    "cancelled because it was asked for": (
        resolve_module, "_finish", trusting_cancel,
    ),
    "no second nonce for a lost one": (resolve_module, "_finish", no_nonce_again),
    "never bumped": (work_module, "_replaces", lambda original: never),
    "a bump that is no bump": (work_module, "_price", flat_price),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_bug_is_found(engine, monkeypatch, name):
    target, attribute, replacement = MUTATIONS[name]
    monkeypatch.setattr(target, attribute, replacement(getattr(target, attribute)))

    for seed in range(40):
        try:
            if run(engine, seed):
                return
        except IllegalMove:
            return
    raise AssertionError("40 schedules did not show it")


@pytest.mark.slow
def test_a_nonce_that_a_foreign_transaction_left_unused_is_filled(engine):
    """It was seen in a block that was undone: without a filler all later ones wait."""
    world = World(engine, seed=1, commands=2)
    world.chain.faults = False
    world.chain.outside()
    world.chain.mine()
    for _ in range(3):
        world.chain.index(engine, world.source)
    for _ in work(world.desk):
        pass
    world.chain.blocks.pop()
    world.chain.pool.pop(0, None)

    for _ in range(60):
        world.chain.mine()
        world.chain.index(engine, world.source)
        world.now += timedelta(seconds=5)
        for _ in work(world.desk):
            pass

    assert world.problems() == []
    with engine.connect() as connection:
        fillers = connection.scalar(
            text("SELECT count(*) FROM control.slot WHERE command IS NULL")
        )
    assert fillers == 1
