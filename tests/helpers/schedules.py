"""One seeded schedule of everything that goes wrong, and what must hold after it.

Workers are `commands.evm.work.work` generators, interleaved between any two of their
steps and dropped anywhere. No step leaves a transaction open, so a whole schedule may
run on one connection, inside one transaction that is undone in the end: the statements
and their results are the same, and thousands of schedules need no clean-up.
"""

import random
import re
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import event, text

from commands.errors import NodeAway, Refused
from commands.evm.nodes.pool import Nodes
from commands.evm.signing.guard import GuardedSigner, Rules
from commands.evm.starting import begin
from commands.evm.work import SignerContext, SigningPolicy, work
from db import sources
from db.commands.accept import Request, accept
from db.commands.evm.closing import cancel
from db.commands.evm.holding import resume_signer
from db.commands.evm.slots import register_signer
from db.commands.evm.tags import tag_of
from db.commands.signers import pause
from helpers.mempool import JsonSigner, MempoolChain
from helpers.node_double import CHAIN_ID, AtOnce, NodeDouble

ADDRESS = b"\x5e" * 20
START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS, QUIET_ROUNDS = 100, 60
COMMANDS = 3
ENDS = {"succeeded", "reverted", "cancelled", "expired"}
SOON = timedelta(seconds=70)
# Per seed: the first digit of this wheel decides what is special about a schedule.
KINDS = ("plain", "edge", "guarded", "restored")
ROOM = 4  # how many nonces the signer may have open


VERBS = (
    "SELECT", "INSERT", "UPDATE", "WITH G", "WITH A", "WITH M", "WITH W", "WITH C",
    "DELETE",
)  # fmt: skip
PLACE = re.compile(r"%\((\w+)\)s")


class Stage:
    """A connection that plays an engine, and goes back to where it began.

    Statements are prepared on the server the first time and executed by name after
    that: planning them anew would be half of the time.
    """

    def __init__(self, engine):
        self.connection = engine.connect()
        self.prepared = {}
        self.connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        self.connection.execute(text("SET synchronous_commit = off"))
        event.listen(
            self.connection, "before_cursor_execute", self._by_name, retval=True
        )

    def _by_name(self, connection, cursor, statement, parameters, context, many):
        return by_name(self.prepared, cursor, statement, parameters, many)

    @contextmanager
    def begin(self):
        yield self.connection

    connect = begin

    def save(self, name="start"):
        self.connection.execute(text(f"SAVEPOINT {name}"))

    def back(self, name="start"):
        self.connection.execute(text(f"ROLLBACK TO SAVEPOINT {name}"))

    def close(self):
        self.connection.rollback()
        self.connection.invalidate()
        self.connection.close()


def by_name(prepared, cursor, statement, parameters, many):
    """The call of a prepared statement instead of the statement."""
    if many or not parameters or statement.lstrip()[:6].upper() not in VERBS:
        return statement, parameters
    call = prepared.get(statement)
    if call is None:
        names = list(dict.fromkeys(PLACE.findall(statement)))
        plain = PLACE.sub(lambda m: f"${names.index(m[1]) + 1}", statement)
        name = f"s{len(prepared)}"
        cursor.execute(f"PREPARE {name} AS {plain.replace('%%', '%')}")
        places = ", ".join(f"%({each})s" for each in names)
        call = prepared[statement] = f"EXECUTE {name} ({places})"
    return call, parameters


def request(number, source, *, tagged=True):
    """Without an id the first two ask for the same."""
    data = bytes([number % 255 + 1]) * 8 + tag_of(uuid.UUID(int=number + 1))
    if not tagged:
        data = bytes([max(1, number) % 255 + 1]) * 8
    return Request(
        tenant="t", idempotency_key=str(number), kind="Test",
        arguments={"n": number}, source=source, signer="s", target=b"\x01" * 20,
        data=data, value=0, gas_limit=100_000, valid_until=None,
    )  # fmt: skip


def prepare(stage, commands=COMMANDS, *, tagged=True):
    """The rows that every schedule starts from; the id of its source."""
    with stage.begin() as connection:
        row = sources.register(
            connection, name="sim", chain_id="eip155:1", ordinals="rank"
        )
        register_signer(
            connection, name="s", source_id=row.id, address=ADDRESS,
            next_nonce=0, gate_height=0, max_in_flight=4,
        )  # fmt: skip
        for number in range(commands):
            accept(
                connection, request(number, row.id, tagged=tagged), START,
                command_id=uuid.UUID(int=number + 1),
            )  # fmt: skip
    stage.save()
    return row.id


class World:
    """One schedule: a chain, a database, workers, and a seed that decides all."""

    def __init__(self, stage, source, seed, commands=COMMANDS, *, tagged=True):
        self.tagged = tagged
        self.stage, self.source, self.rng = stage, source, random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.now, self.finality = START, 4
        self.chain = MempoolChain(self.rng, ADDRESS)
        self.nodes = [NodeDouble(self.chain, 0)]
        if self.kind == "edge":
            self._on_edge()
        self.halt = self.rng.randrange(5, 200)  # from then on no block, for a while
        self.ids = [uuid.UUID(int=number + 1) for number in range(commands)]
        self.policy = SigningPolicy(
            chain_id=1, gas_price_min=1, rebroadcast_after=timedelta(seconds=4),
            bump_after=timedelta(seconds=12), held_again_after=timedelta(seconds=10),
        )  # fmt: skip
        self.signer = JsonSigner("s", ADDRESS)
        signer = self.signer
        if self.kind == "guarded":
            signer = GuardedSigner(
                stage, signer, Rules(name="s", chain_id=1), lambda: self.now
            )
        self.node = Nodes(
            self.nodes, chain_id=CHAIN_ID, senders=AtOnce(),
            indexed=lambda: len(self.chain.indexed) - 1,
            clock=lambda: self.now.timestamp(),
        )  # fmt: skip
        self.context = SignerContext(
            stage, signer, self.node, self.policy, lambda: self.now
        )
        self.found, self.held_at, self.opens = [], None, {}
        self.seen = False  # whether somebody let it go on after it halted by itself
        self.workers, self.backup = [work(self.context), work(self.context)], None
        self._deadline()

    def _on_edge(self):
        """Two nodes that keep what they have; the first may be cut off from others."""
        self.chain.edge = True
        self.chain.pools.append({})
        self.nodes.append(NodeDouble(self.chain, 1))
        if self.rng.random() < 0.5:
            self.chain.isolated.add(0)

    def _deadline(self):
        """One command may have little time."""
        if self.rng.random() < 0.5:
            late = START + timedelta(seconds=self.rng.randrange(20, 120))
            self._sql(
                "UPDATE control.command SET valid_until = :late WHERE id = :id",
                late=late, id=self.rng.choice(self.ids),
            )  # fmt: skip

    def play(self):
        for step in range(STEPS):
            self.now += timedelta(seconds=1)
            self.chain.halted = self.halt <= step < self.halt + 40
            if self.chain.halted and step % 5 == 0:
                self._look_on()
            if self.kind == "restored" and step in (STEPS // 3, STEPS - 20):
                self._back_up() if step < STEPS // 2 else self._restore()
            self.act(self.rng.random())
        found = [*self.found, *self.tardy()]
        self.calm()
        for number in range(QUIET_ROUNDS):
            self.now += timedelta(seconds=5)
            self.chain.mine()
            self.chain.mine()
            self.chain.index(self.stage, self.source, finality=self.finality, blocks=99)
            for _ in work(self.context):
                pass
            if number > 1 and self.done():
                break
        return found + self.problems()

    def _look_on(self):
        """Time passes while no block is made, and a worker looks at everything."""
        self.now += timedelta(seconds=13)
        for _ in work(self.context):
            pass

    def act(self, roll):
        chain, rng = self.chain, self.rng
        if roll < 0.16:
            chain.mine()
        elif roll < 0.30:
            chain.index(self.stage, self.source, finality=self.finality, blocks=2)
        elif roll < 0.355:
            chain.reorg(rng.randrange(1, 4))
        elif roll < 0.37:
            pool = rng.choice(chain.pools) if len(chain.pools) > 1 else chain.pool
            forgotten = list(pool) if rng.random() < 0.5 else list(pool)[:1]
            for nonce in forgotten:
                pool.pop(nonce)
        elif roll < 0.39:
            chain.outside()
        elif roll < 0.41:
            with self.stage.begin() as connection:
                cancel(connection, rng.choice(self.ids), self.now)
        elif roll < 0.43:
            chain.base = 8 + rng.randrange(12)
        elif roll < 0.455:
            self._trouble()
        elif roll < 0.465:
            self._estimate()
        elif roll < 0.49 and self.workers:
            self.workers.pop(rng.randrange(len(self.workers)))  # it crashed here
        elif len(self.workers) < 3 and roll < 0.57:
            self.workers.append(work(self.context))
        elif self.workers:
            at = rng.randrange(len(self.workers))
            step = next(self.workers[at], None)
            self._watch(self.workers[at], step)
            if step is None:
                self.workers.pop(at)

    def _watch(self, worker, step):
        """What must hold of single steps: how holds end, and how much is filled."""
        if step == "looked":
            self.opens[id(worker)] = self._count("open")
        elif step == "put on hold":
            self.held_at = self.chain.takes
        elif step == "taken off hold":
            idle = not self.opens.get(id(worker))
            if self.held_at == self.chain.takes and not idle:
                self.found.append("a hold ended, and no node had taken anything")
        elif step == "reconciled" and self._fillers() > 2 * ROOM:
            self.found.append("more is filled than there is room for")

    def _fillers(self):
        return self._count("open AND command IS NULL")

    def _count(self, where):
        return self._sql(f"SELECT count(*) FROM control.slot WHERE {where}").scalar()

    def _estimate(self):
        """What a client is told who asks for a command: never a refusal here."""
        data = self._data(self.rng.randrange(len(self.ids)))
        try:
            self.node.simulate(ADDRESS, b"\1" * 20, 0, data)
        except NodeAway:
            pass
        except Refused as error:
            self.found.append(f"a call was refused that the chain takes: {error}")

    def _trouble(self):
        """The signing side, the operator or the machine; each may end it again."""
        rng, roll = self.rng, self.rng.random()
        if roll < 0.2:
            self.signer.away = not self.signer.away
        elif roll < 0.35:
            self._spoil_a_node()
        elif roll < 0.5:
            refused = self._data(rng.randrange(len(self.ids)))
            self.signer.refuses ^= {refused}
        elif roll < 0.65:
            self.chain.balance = not self.chain.balance
        elif roll < 0.85:
            self._halt(paused=rng.random() < 0.5)
        else:
            self._restart()

    def _halt(self, *, paused):
        with self.stage.begin() as connection:
            if paused:
                pause(connection, "s", paused=True, reason="by hand")
            else:
                self.seen = self.seen or self.alarmed()
                resume_signer(connection, "s", self.now)

    def _spoil_a_node(self):
        """One node lags, or is of another chain; or all refuse a price that is low."""
        roll, node = self.rng.random(), self.rng.choice(self.nodes)
        if roll < 0.4:
            self.chain.least = self.rng.choice((0, self.chain.base + 10))
        elif roll < 0.7:
            node.behind = 0 if node.behind else self.rng.randrange(1, 9)
        else:
            node.foreign = not node.foreign

    def _restart(self):
        """All workers end; the next waits until the index has passed today's head.

        One of two nodes may count transactions that there are not.
        """
        self.workers.clear()
        self._heal()
        faults, self.chain.faults = self.chain.faults, False
        if len(self.nodes) > 1 and self.rng.random() < 0.5:
            self.nodes[0].lie = self.rng.choice((12, 100_000))
        # Blocks come after those that were undone: nodes are not behind the index.
        while len(self.chain.indexed) > len(self.chain.blocks):
            self.chain.blocks.append([])
        begin(
            self.stage, self.context.signer, self.node,
            source=self.source, max_in_flight=ROOM,
        )  # fmt: skip
        self._heal()
        self.chain.faults = faults

    def _heal(self):
        for node in self.nodes:
            node.heal()

    def _back_up(self):
        self.stage.save("backup")
        self.backup = list(self.chain.indexed)

    def _restore(self):
        """Everything the database learned since is lost; the signer's memory is not."""
        self.stage.back("backup")
        self.chain.indexed = self.backup
        self._restart()

    def calm(self):
        """Nothing goes wrong any more, and workers end as they may."""
        self.chain.faults, self.chain.balance = False, True
        self.chain.halted, self.chain.least = False, 0
        self._heal()
        self.signer.away = False
        self.signer.refuses.clear()
        self.workers.clear()
        if not self.alarmed():
            self._halt(paused=False)

    def alarmed(self):
        """Whether the signer halted by itself, as after a restore it may."""
        halted, reason = self._sql(
            "SELECT paused, reason FROM control.signer WHERE name = 's'"
        ).one()
        return halted and reason != "by hand"

    def _sql(self, statement, **parameters):
        return self.stage.connection.execute(text(statement), parameters)

    def states(self):
        rows = self._sql("SELECT id, state FROM control.command")
        return {row.id: row.state for row in rows}

    def done(self):
        going = "SELECT EXISTS (SELECT FROM control.slot WHERE open)"
        return set(self.states().values()) <= ENDS and not self._sql(going).scalar()

    def tardy(self):
        """Commands that nobody would look at soon; of those with a nonce, its slot."""
        rows = self._sql(
            "SELECT c.id, c.state, coalesce(s.next_action_at, c.next_action_at) AS at"
            " FROM control.command c LEFT JOIN control.slot s"
            "   ON s.command = c.id AND s.open"
            " WHERE c.next_action_at IS NOT NULL"
        )
        return [
            f"command {row.id.int - 1}, {row.state}, waits until {row.at}"
            for row in rows
            if row.at is None or row.at > self.now + SOON
        ]

    def problems(self):
        """What is not as it must be."""
        if self.alarmed() or self.seen:
            # What a restored database did not know may be told otherwise than it was.
            return self._twice() if self.kind == "restored" else ["it halted itself"]
        return [*self._twice(), *self._lies(), *self._nonces(), *self._prices()]

    def _prices(self):
        """Nothing pays more than a bump and a cancel over what a node suggested."""
        dearest = self._sql("SELECT max(gas_price) FROM control.attempt").scalar() or 0
        most = self.chain.suggested * 1.26 + 3
        return [] if dearest <= most else [f"{dearest} is paid, and {most} at most"]

    def _data(self, number):
        return request(number, self.source, tagged=self.tagged).data

    def _calls(self):
        """Each call: how often it ran, and the commands that asked for it."""
        ran = [tx["data"] for block in self.chain.blocks for tx in block]
        asked = {}
        for number in range(len(self.ids)):
            asked.setdefault(self._data(number).hex(), []).append(number)
        return [(ran.count(data), numbers) for data, numbers in asked.items()]

    def _twice(self):
        return [
            f"commands {numbers} ran {times} times"
            for times, numbers in self._calls()
            if times > len(numbers)
        ]

    def _lies(self):
        states = self.states()
        found = []
        for times, numbers in self._calls():
            told = [states[self.ids[number]] for number in numbers]
            if told.count("succeeded") > times:
                found.append(f"commands {numbers} are told as {told} and never ran")
            if told.count("succeeded") < times:
                found.append(f"commands {numbers} are told as {told} and ran")
            if not set(told) <= ENDS:
                found.append(f"commands {numbers} are stuck as {told}")
        return found

    def _nonces(self):
        """No gap: every nonce that was taken is used, every one used is accounted for.

        Of nonces used by others only those count that a slot was ever taken for.
        """
        row = self._sql(
            "SELECT next_nonce, (SELECT count(*) FROM control.slot WHERE open) AS open"
            " FROM control.signer WHERE name = 's'"
        ).one()
        left = row.next_nonce - self.chain.consumed()
        return [] if left == row.open else [f"{left} nonces left, {row.open} are open"]


def run(stage, source, seed, *, tagged=True, **changes):
    """Play the schedule of a seed; returns what is wrong after it."""
    stage.back()
    world = World(stage, source, seed, tagged=tagged)
    for name, value in changes.items():
        setattr(world, name, value)
    return world.play()
