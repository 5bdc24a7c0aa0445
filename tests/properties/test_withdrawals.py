"""What is withdrawn is not done: whoever was first, and whatever was killed between."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from commands.requests import submit_requests
from db import outbox
from db.commands.accept import find_by_key
from db.declare import Withdrawal
from db.domains.crowdfunding.commands import MintCertificate, RegisterIssuer
from helpers import servers
from helpers.history import rounds
from helpers.office import Office
from indexer.react import ask, once_key

KEYS = ("a", "b", "c")
ARGUMENTS = {"issuer": "0x" + "aa" * 20, "credential": "v", "memorandum": "m"}


class Killed(Exception):
    """The process died here."""


class World:
    """Requests under three keys, whoever withdraws them, and whoever submits them."""

    def __init__(self, office, seed):
        self.office, self.rng = office, random.Random(seed)
        self.asked, self.withdrawn = set(), set()
        office.final(0)

    def ask(self, key=None):
        key = key or self.rng.choice(KEYS)
        self.asked.add(key)
        with self.office.writer.begin() as connection:
            outbox.request_command(
                connection, self.office.source, key=key, kind="register-issuer",
                arguments=ARGUMENTS, cause="test", now=self.office.clock(),
            )  # fmt: skip

    def withdraw(self, key=None):
        key = key or self.rng.choice(KEYS)
        self.withdrawn.add(key)
        with self.office.writer.begin() as connection:
            outbox.withdraw(
                connection, self.office.source, key=key, kind="register-issuer",
                because="it was refunded", cause="test", now=self.office.clock(),
            )  # fmt: skip

    def submit(self):
        list(submit_requests(self.office.command_service))

    def submit_and_die(self):
        """Die between a command and the note of it."""

        def die(*_):
            raise Killed

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr("commands.requests.outbox.note_accepted", die)
            self.submit()

    def withdraw_meanwhile_and_die(self):
        """The same, and the process that submits ends before it notes its command."""

        def die(*_):
            raise Killed

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr("commands.requests.outbox.note_accepted", die)
            self.withdraw_meanwhile()

    def withdraw_meanwhile(self):
        """Withdraw while another process is about to submit, and let a third look."""
        waiting = sorted(self.asked - self.withdrawn) or KEYS
        key, simulate = self.rng.choice(waiting), self.office.node.simulate

        def meanwhile(*call):
            self.office.node.simulate = simulate
            self.withdraw(key)
            if self.rng.random() < 0.5:
                self.submit()
            return simulate(*call)

        self.office.node.simulate = meanwhile
        self.submit()
        self.office.node.simulate = simulate

    def pause(self):
        self.office.clock.forward(seconds=self.rng.choice((11, 601)))

    def settle(self):
        for _ in range(3):
            self.office.clock.forward(seconds=601)
            self.submit()

    def states(self):
        with self.office.writer.connect() as connection:
            found = {key: find_by_key(connection, "reactions", key) for key in KEYS}
        return {key: str(row.state) for key, row in found.items() if row is not None}


STEPS = [
    "ask", "ask", "withdraw", "submit", "submit_and_die", "withdraw_meanwhile",
    "withdraw_meanwhile", "withdraw_meanwhile_and_die", "pause",
]  # fmt: skip


@pytest.fixture(scope="session")
def fresh_office(postgres_url, migrated_template):
    @contextlib.contextmanager
    def make():
        with servers.fresh_database(postgres_url, migrated_template) as url:
            office = Office(url)
            try:
                yield office
            finally:
                office.close()

    return make


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@rounds(25)
def test_what_was_withdrawn_is_not_done_and_all_else_is(fresh_office, seed):
    with fresh_office() as office:
        world = World(office, seed)
        for step in world.rng.choices(STEPS, k=25):
            getattr(world, step)()
        world.settle()

        states = world.states()
        for key in KEYS:
            if key in world.withdrawn:
                assert states.get(key, "cancelled") == "cancelled"
            elif key in world.asked:
                assert states[key] == "accepted"
            else:
                assert key not in states
        left = "SELECT count(*) FROM control.outbox WHERE next_action_at IS NOT NULL"
        assert office.scalar(left) == 0


def test_a_withdrawal_names_the_request_of_the_same_command(fresh_office):
    asked = MintCertificate(campaign=b"\1" * 20, investor=b"\2" * 20, uri="u")
    gone = Withdrawal(MintCertificate, "no", investor=b"\2" * 20, campaign=b"\1" * 20)
    with fresh_office() as office, office.writer.begin() as connection:
        new = [
            ask(connection, None, office.source, each, key=once_key, cause="test")
            for each in (gone, asked, gone)
        ]
        rows = connection.execute(text("SELECT * FROM control.outbox")).mappings().all()
    assert new == [True, False, False]
    assert [row["withdrawn_because"] for row in rows] == ["no"]
    assert rows[0]["key"] == once_key(asked)


def test_a_withdrawal_names_all_of_once_per():
    with pytest.raises(ValueError, match="campaign, investor"):
        Withdrawal(MintCertificate, "no", campaign=b"\1" * 20)
    with pytest.raises(ValueError, match="it has none"):
        Withdrawal(RegisterIssuer, "no")
