"""A signer at work on a database of its own, against a chain that one can spoil.

counter = Counter(engine)
counter.ask(3); counter.turn(); counter.chain.mine(); counter.index(); counter.turn()
"""

import random
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from commands.evm.work import SignerContext, SigningPolicy, work
from db import sources
from db.commands.accept import accept, find
from db.commands.evm.closing import cancel
from db.commands.evm.slots import register_signer
from db.commands.health import blocker_of, signer_health
from db.commands.signers import find_signer
from helpers.mempool import FINAL_DEPTH, JsonSigner, MempoolChain
from helpers.schedules import ADDRESS, request

START = datetime(2026, 1, 1, tzinfo=UTC)


class Counter:
    """One context: its chain, its clock, its commands by number."""

    def __init__(
        self, engine, *, most=64, signer=None, node=None, tagged=True, **policy
    ):
        self.tagged = tagged
        self.engine, self.now = engine, START
        self.chain = MempoolChain(random.Random(1), ADDRESS)
        self.chain.faults, self.chain.base = False, 1
        self.signer = signer or JsonSigner("s", ADDRESS)
        with engine.begin() as connection:
            row = sources.register(
                connection, name="sim", chain_id="eip155:1", ordinals="rank"
            )
            register_signer(
                connection, name="s", source_id=row.id, address=ADDRESS,
                next_nonce=0, gate_height=0, max_in_flight=most,
            )  # fmt: skip
        self.source = row.id
        policy = {"gas_price_min": 1, **policy}
        self.policy = SigningPolicy(chain_id=1, **policy)
        self.context = self.seat(engine, node)
        self.index()

    def seat(self, engine, node=None):
        """A context over an engine; by default the one of this counter."""
        return SignerContext(
            engine, self.signer, node or self.chain, self.policy, lambda: self.now
        )

    def ask(self, count=1, *, first=0, valid_until=None):
        """Accept commands; their numbers."""
        numbers = range(first, first + count)
        with self.engine.begin() as connection:
            for number in numbers:
                asked = request(number, self.source, tagged=self.tagged)
                accept(
                    connection, asked, self.now, command_id=identity(number),
                )  # fmt: skip
                if valid_until is not None:
                    connection.execute(
                        text("UPDATE control.command SET valid_until = :at"
                             " WHERE id = :id"),
                        {"at": valid_until, "id": identity(number)},
                    )  # fmt: skip
        return list(numbers)

    def turn(self, context=None, *, until=None):
        """One pass of a worker, or up to a step, after which it is killed."""
        for step in work(context or self.context):
            if step == until:
                return

    def worker(self):
        return work(self.context)

    def wait(self, **time):
        self.now += timedelta(**time)

    def index(self):
        self.chain.index(self.engine, self.source, blocks=10**6)

    def block(self, count=1):
        """Blocks are mined and indexed, and a worker looks at each."""
        for _ in range(count):
            self.chain.mine()
            self.index()
            self.turn()

    def finish(self, rounds=40):
        """Everything goes well until everything is done."""
        for _ in range(rounds):
            self.wait(seconds=11)
            self.block()
            if self.done():
                break
        for _ in range(FINAL_DEPTH + 1):
            self.block()

    def done(self):
        query = "SELECT count(*) FROM control.command WHERE next_action_at IS NOT NULL"
        return not self.scalar(query)

    def cancel(self, number):
        with self.engine.begin() as connection:
            return cancel(connection, identity(number), self.now)

    def command(self, number):
        with self.engine.connect() as connection:
            return find(connection, identity(number))

    def state(self, number=0):
        return str(self.command(number).state)

    def states(self):
        rows = self.rows("SELECT state FROM control.command ORDER BY id")
        return [row.state for row in rows]

    def told(self, number=0):
        """The states that a command went through, as everyone is told."""
        rows = self.rows(
            "SELECT state FROM control.command_event WHERE command = :id ORDER BY id",
            id=identity(number),
        )
        return [row.state for row in rows]

    def slots(self):
        """Nonce, number of its command, resolution."""
        rows = self.rows("SELECT * FROM control.slot ORDER BY nonce")
        return [
            (row.nonce, row.command and row.command.int - 1, row.resolution)
            for row in rows
        ]

    def attempts(self):
        return self.rows("SELECT * FROM control.attempt ORDER BY nonce, number")

    def ran(self):
        """How often each command is on the chain, by number."""
        found = {}
        for block in self.chain.blocks:
            for transaction in block:
                data = bytes.fromhex(transaction["data"])
                if data:
                    number = uuid.UUID(bytes=data[-32:-16]).int - 1
                    found[number] = found.get(number, 0) + 1
        return found

    def row(self):
        with self.engine.connect() as connection:
            return find_signer(connection, "s")

    def health(self):
        with self.engine.connect() as connection:
            return signer_health(connection, self.now)[0]

    def blocker(self, number=0):
        with self.engine.connect() as connection:
            return blocker_of(connection, identity(number))

    def scalar(self, query, **values):
        with self.engine.connect() as connection:
            return connection.scalar(text(query), values)

    def rows(self, query, **values):
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).all()


def identity(number):
    return uuid.UUID(int=number + 1)
