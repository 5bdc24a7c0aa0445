"""One seeded schedule of what wallets do, and of what goes wrong about it.

The wallet signs, gives us its bytes or sends them itself, signs again with the same
nonce or another, uses one for something else, and sends what was cancelled long ago.
Before any transaction of ours the process may die, or somebody else may act. What must
hold is in `WalletWorld.problems`; how a schedule runs is as in `helpers.schedules`.
"""

import itertools
import random
import uuid
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import text

from commands.errors import BadTransaction, NodeAway
from commands.evm import wallets as lanes
from commands.evm.lane import EvmLane
from commands.submit import CommandService, Submission, WalletTerms
from db import sources
from db.commands import watching
from db.commands.accept import Request, accept, find
from db.commands.errors import AlreadyEnded, KeyReused, NonceConflict, NotCancellable
from db.commands.evm.closing import cancel
from db.commands.evm.tags import tag_of
from db.journal.append import Actor
from helpers import wallet_chain
from helpers.schedules import START, Stage
from helpers.wallet_chain import WalletChain

ADDRESS, TARGET = b"\x5e" * 20, b"\x01" * 20
STEPS, QUIET_ROUNDS, IDLE_ROUNDS = 60, 60, 3
COMMANDS = 2
RELAYED = [bytes([number]) * 8 for number in (0xE1, 0xE2)]
ENDS = {"succeeded", "reverted", "cancelled", "expired", "dropped"}
REFUSALS = (AlreadyEnded, NonceConflict, BadTransaction, NodeAway, KeyReused)
ACTOR = Actor("somebody", tenant="t")
TERMS = WalletTerms(valid=timedelta(seconds=150), afterwards=timedelta(days=1))


class Died(BaseException):
    """The process ended here."""


class WalletStage(Stage):
    """A stage that tells before each transaction: something else may come between."""

    def __init__(self, engine):
        super().__init__(engine)
        self.between = lambda: None

    @contextmanager
    def begin(self):
        self.between()
        yield self.connection

    connect = begin


class QuietService(CommandService):
    """A command service that keeps no audit log: there are tests of that."""

    def note_accepted(self, connection, actor, row):
        pass


def prepare(stage):
    """The rows that every schedule starts from; the id of its source."""
    with stage.begin() as connection:
        row = sources.register(
            connection, name="sim", chain_id="eip155:1", ordinals="rank"
        )
    stage.save()
    return row.id


class WalletWorld:
    """One schedule: a chain, a wallet, a database, workers, a seed that decides all."""

    def __init__(self, stage, source, seed):
        self.stage, self.source, self.rng = stage, source, random.Random(seed)
        self.now = START
        self.chain = WalletChain(self.rng, ADDRESS)
        self.command_service = QuietService(
            engine=stage, at_once=stage, registry=None,
            lanes=[
                EvmLane("sim", source, wallet_chain.CHAIN_ID, self.chain, {"C": TARGET})
            ],
            clock=lambda: self.now, terms=TERMS,
        )  # fmt: skip
        self.ids, self.bytes, self.relays = [], [], []
        # By command: nonces of calls that the index showed, and of bytes that we took.
        self.seen, self.given = {}, {}
        self.found, self.workers = [], []
        self.busy = self.acting = False
        numbers = itertools.count(1000)
        lanes.new_id = lambda: uuid.UUID(int=next(numbers))
        stage.between = self._between
        if seed % 3 == 0:
            self._live_before()

    def _live_before(self):
        """The wallet did something before it was watched: nobody read that."""
        for number in range(8):
            if number < 3:
                self.chain.outside()
            self.chain.mine()
        self.chain.index(self.stage, self.source, blocks=99)

    # what happens --------------------------------------------------------------

    def play(self):
        self.busy = True
        for _ in range(STEPS):
            self.now += timedelta(seconds=1)
            self.act(self.rng.random())
        self._calm()
        self._quiet()
        return self.found + self.problems()

    def _between(self):
        """Before a transaction the process may die, or somebody else may act."""
        if not self.busy or self.acting:
            return
        roll = self.rng.random()
        if roll < 0.03:
            raise Died
        if roll < 0.2:
            self._happen(self.rng.random())

    def act(self, roll):
        """Let one of the parties do something; what we refuse, it has to live with."""
        with suppress(Died, *REFUSALS):
            if roll < 0.42:
                self._happen(roll / 0.42)
            elif roll < 0.46:
                self._ask()
            elif roll < 0.60:
                self._give()
            elif roll < 0.66:
                self._send_itself()
            elif roll < 0.70:
                self._relay()
            elif roll < 0.73:
                self._cancel()
            elif roll < 0.74:
                self._crowd()
            else:
                self._work()

    def _happen(self, roll):
        """The chain and its index, which nothing comes between."""
        chain, self.acting = self.chain, True
        if roll < 0.4:
            chain.mine()
        elif roll < 0.75:
            chain.index(self.stage, self.source, blocks=3)
        elif roll < 0.87:
            chain.reorg(self.rng.randrange(1, 4))
        elif roll < 0.90:
            forgotten = list(chain.pool) if roll < 0.89 else list(chain.pool)[:1]
            for nonce in forgotten:
                chain.pool.pop(nonce)
        elif roll < 0.97:
            chain.outside()
        else:
            chain.base = 8 + self.rng.randrange(12)
        self.acting = False

    def _ask(self):
        if len(self.ids) == COMMANDS:
            return
        number = len(self.ids)
        command = uuid.UUID(int=number + 1)
        seconds = self.rng.choice((20, 60, 150))
        request = Request(
            tenant="t", idempotency_key=str(number), kind="Test", arguments={},
            source=self.source, sender=ADDRESS, target=TARGET, data=data_of(command),
            gas_limit=21_000, valid_until=self.now + timedelta(seconds=seconds),
        )  # fmt: skip
        with self.stage.begin() as connection:
            accept(connection, request, self.now, command_id=command)
        self.ids.append(command)

    def _row(self, command):
        return find(self.stage.connection, command)

    def _sign(self, data, nonce):
        """Sign a call with a nonce, or one near it; what was signed can be sent."""
        if self.rng.random() < 0.25:
            nonce = max(0, nonce + self.rng.choice((-2, -1, 1, 1, 2)))
        price = self.chain.base - 1 + self.rng.randrange(12)
        raw = wallet_chain.sign(ADDRESS, nonce, price, TARGET, data)
        self.bytes.append(raw)
        return raw

    def _give(self):
        """The client gives us what its wallet signed: anew, or some time ago."""
        if not self.ids:
            return
        row = self._row(self.rng.choice(self.ids))
        old = [raw for raw in self.bytes if wallet_chain.read(raw).data == row.data]
        if old and self.rng.random() < 0.3:
            raw = self.rng.choice(old)
        else:
            raw = self._sign(
                row.data,
                lanes.unsigned(
                    self.command_service, self.command_service.lanes[0], row
                ).nonce,
            )
        self._hand_over(row, raw)

    def _hand_over(self, row, raw):
        nonce = wallet_chain.read(raw).nonce
        kept = "SELECT count(*) FROM control.relay WHERE command = :id AND raw <> ''"
        before = self._sql(kept, id=row.id).scalar()
        try:
            lanes.relay_signed(
                self.command_service, self.command_service.lanes[0], row, raw
            )
        finally:  # it may have been kept although the process died
            if self._sql(kept, id=row.id).scalar() > before:
                self._check_nonce(row, nonce)

    def _check_nonce(self, row, nonce):
        """No second nonce is taken while the call may still run with the first."""
        self._notice()
        seen = self.seen.setdefault(row.id, set())
        given = self.given.setdefault(row.id, set())
        others = given if nonce in seen | given else seen | given
        for other in others - {nonce}:
            used = self.chain.settled_by(other)
            if used is None or used["data"] == row.data.hex():
                self.found.append(f"{row.id.int} is taken at {other} and at {nonce}")
        given.add(nonce)

    def _send_itself(self):
        """The wallet sends what it signed, for whatever has become of the command."""
        if self.bytes and self.rng.random() < 0.6:
            raw = self.rng.choice(self.bytes)
        elif self.ids:
            data = data_of(self.rng.choice(self.ids))
            raw = self._sign(data, self.chain.consumed())
        else:
            return
        self.chain.send_itself(raw)

    def _relay(self):
        """A call that nobody asked for: the same bytes again, or others."""
        if self.relays and self.rng.random() < 0.5:
            raw = self.rng.choice(self.relays)
        else:
            raw = self._sign(self.rng.choice(RELAYED), self.chain.consumed())
            self.relays.append(raw)
        key = f"relay-{self.rng.randrange(4)}"
        lanes.relay_any(
            self.command_service,
            self.command_service.lanes[0],
            raw,
            Submission(ACTOR, key, {}),
        )

    def _cancel(self):
        rows = self._sql("SELECT id FROM control.command ORDER BY id").scalars().all()
        if rows:
            with suppress(NotCancellable), self.stage.begin() as connection:
                cancel(connection, self.rng.choice(rows), self.now)

    def _crowd(self):
        """So many others are waited for that this wallet is not watched; or no more."""
        watching.WATCHED_MOST = 0 if watching.WATCHED_MOST else 10_000

    def _work(self):
        if self.workers and self.rng.random() < 0.05:
            self.workers.pop(self.rng.randrange(len(self.workers)))
        if len(self.workers) < 2 and self.rng.random() < 0.4:
            self.workers.append(
                lanes.work_wallets(self.command_service, self.command_service.lanes[0])
            )
        if self.workers:
            worker = self.rng.choice(self.workers)
            try:
                if next(worker, None) is None:
                    self.workers.remove(worker)
            except Died:
                self.workers.remove(worker)
            self._notice()

    def _notice(self):
        """What the index has shown of a command is known to us from then on."""
        shown = self._sql(
            "SELECT c.id, t.nonce FROM control.command c"
            " JOIN control.sender_transaction t ON t.hash = c.transaction"
            " WHERE c.state = 'included'"
        )
        for row in shown:
            self.seen.setdefault(row.id, set()).add(int(row.nonce))

    def _calm(self):
        self.busy = False
        self.chain.faults, self.chain.base = False, 0
        self.workers.clear()
        watching.WATCHED_MOST = 10_000

    def _quiet(self):
        """Nothing goes wrong any more; after a while the wallet uses up its nonces."""
        chain = self.chain
        signed = [wallet_chain.read(raw).nonce for raw in self.bytes]
        for number in range(QUIET_ROUNDS):
            self.now += timedelta(seconds=5)
            if number == IDLE_ROUNDS:
                self._check_sent()
                self.now += TERMS.valid
                for raw in self.bytes:
                    if self.rng.random() < 0.3:
                        chain.send_itself(raw)
            open_ = chain.consumed() not in chain.pool
            if (
                number >= IDLE_ROUNDS
                and open_
                and chain.consumed() <= 1 + max(signed, default=-1)
            ):
                chain.outside()
            chain.mine()
            for _ in range(2):
                chain.index(self.stage, self.source, blocks=99)
            for _ in lanes.work_wallets(
                self.command_service, self.command_service.lanes[0]
            ):
                pass
            if number > IDLE_ROUNDS and self._done(signed):
                break

    def _done(self, signed):
        ended = set(self._sql("SELECT state FROM control.command").scalars()) <= ENDS
        return (
            ended
            and self.chain.consumed() > max(signed, default=-1)
            and not any(self.chain.blocks[self._final() + 1 :])
        )

    def _final(self):
        query = "SELECT final FROM control.source WHERE id = :id"
        return self._sql(query, id=self.source).scalar()

    # what must hold ------------------------------------------------------------

    def _sql(self, statement, **parameters):
        return self.stage.connection.execute(text(statement), parameters)

    def _check_sent(self):
        """What the chain would take next was sent, however often it was forgotten."""
        kept = self._sql(
            "SELECT c.id, r.nonce, r.hash FROM control.command c JOIN control.relay r"
            " ON r.command = c.id WHERE c.state = 'signed' AND r.raw <> ''"
        ).all()
        following = self.chain.consumed()
        for row in kept:
            if row.nonce == following and following not in self.chain.pool:
                self.found.append(f"the bytes of {row.id.int} are not sent again")

    def problems(self):
        """What is told otherwise than the chain has it, is stuck, or is there twice."""
        rows = self._sql(
            "SELECT c.*, ARRAY(SELECT r.nonce FROM control.relay r"
            "   WHERE r.command = c.id) AS nonces,"
            " (SELECT e.details FROM control.command_event e WHERE e.command = c.id"
            "   ORDER BY e.id DESC LIMIT 1) AS last"
            " FROM control.command c ORDER BY c.id"
        ).all()
        told = [f"{row.kind} {row.id}: {w}" for row in rows for w in self._wrong(row)]
        return told + self._twice(rows) + self._watched()

    def _wrong(self, row):
        if row.state not in ENDS:
            return [f"stuck as {row.state}"]
        relayed = row.kind == "relay"
        runs = self.chain.runs(bytes(row.data), set(row.nonces) if relayed else None)
        hash_ = None if row.transaction is None else bytes(row.transaction)
        named = [run for run in runs if run[:2] == (row.height, hash_)]
        good = [run for run in runs if run[2]]
        found = []
        told = row.late_outcome or row.state
        if told in ("succeeded", "reverted") and [run[2] for run in named] != [
            told == "succeeded"
        ]:
            found.append(f"told as {told}, and the chain has {runs}")
        if row.state != "succeeded" and good and row.late_outcome != "succeeded":
            found.append(f"told as {row.state}, and it succeeded")
        if row.state in ("cancelled", "expired") and runs and not row.late_outcome:
            found.append(f"told as {row.state}, and it ran")
        if row.late_outcome and row.last.get("late_outcome") != row.late_outcome:
            found.append("what ran is not in its history")
        if row.state in ("cancelled", "expired", "dropped"):
            if not row.late_outcome and row.state != "dropped" and hash_ is not None:
                found.append("it names a transaction that never ran")
            if any(run[1] in self.chain.given for run in runs):
                found.append(f"told as {row.state}, and what we sent ran")
        return found

    def _twice(self, rows):
        """Runs that only we sent, and commands for the same bytes."""
        found = []
        for row in rows:
            runs = self.chain.runs(bytes(row.data)) if row.kind != "relay" else []
            ours = [r for r in runs if r[1] in self.chain.given - self.chain.own]
            if len(ours) > 1:
                found.append(f"we ran {row.id.int} {len(ours)} times")
        same = self._sql(
            "SELECT count(*) FROM control.relay WHERE raw <> ''"
            " GROUP BY hash HAVING count(DISTINCT command) > 1"
        ).all()
        found += [f"{each[0]} commands for the same bytes" for each in same]
        empty = [row.id for row in rows if row.kind == "relay" and not row.nonces]
        return found + [f"relay {each} was taken without its bytes" for each in empty]

    def _watched(self):
        """Nothing is watched for ever."""
        self.now += TERMS.afterwards + timedelta(seconds=1)
        for _ in lanes.work_wallets(
            self.command_service, self.command_service.lanes[0]
        ):
            pass
        with self.stage.begin() as connection:
            left = watching.watched(connection, self.source)
        return [f"{len(left)} wallets are still watched"] if left else []


def data_of(command):
    """The calldata of a command."""
    return bytes([command.int % 255]) * 8 + tag_of(command)


def run(stage, source, seed):
    """Play the schedule of a seed; returns what is wrong after it."""
    stage.back()
    return WalletWorld(stage, source, seed).play()
