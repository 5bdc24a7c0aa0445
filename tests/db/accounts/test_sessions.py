"""Refresh tokens in random hands: the family is one line, and a theft ends it."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from commands.submit import new_id
from db.accounts.accounts import create_account, set_disabled
from db.accounts.sessions import (
    GRACE,
    Rotation,
    add_token,
    open_session,
    revoke_session,
    rotate,
)
from db.domains.crowdfunding.roles import ISSUER
from helpers import servers

LIFETIME = timedelta(days=7)
START = datetime(2026, 1, 1, tzinfo=UTC)
LIVE = text(
    "SELECT count(*) FROM control.refresh_token t JOIN control.session s"
    " ON s.id = t.session WHERE s.id = :id AND t.rotated_at IS NULL"
)
REVOKED = text("SELECT revoked_at IS NOT NULL FROM control.session WHERE id = :id")


def following(token):
    """As the server derives it, in essence."""
    return hashlib.sha256(token).digest()


class Family:
    """One session on a real database, and a clock."""

    def __init__(self, connection):
        self.connection, self.now, self.id = connection, START, new_id()
        self.account = create_account(
            connection, str(self.id), account_id=new_id(), roles=[ISSUER],
            now=START,
        ).id  # fmt: skip
        open_session(
            connection, self.account, session_id=self.id, method="test", now=START,
            expires_at=START + timedelta(days=30),
        )  # fmt: skip
        self.first = hashlib.sha256(self.id.bytes).digest()
        add_token(
            connection, self.id, self.first, now=START, expires_at=START + LIFETIME
        )

    def show(self, token):
        return rotate(
            self.connection, token, following(token), now=self.now, lifetime=LIFETIME
        ).outcome

    def live(self):
        return self.connection.execute(LIVE, {"id": self.id}).scalar_one()

    def revoked(self):
        return self.connection.execute(REVOKED, {"id": self.id}).scalar_one()


@pytest.fixture(scope="module")
def connection(postgres_url, migrated_template):
    with (
        servers.fresh_database(postgres_url, migrated_template) as url,
        servers.engine_on(url) as engine,
        engine.connect() as connection,
    ):
        yield connection


@pytest.mark.parametrize("seed", range(40))
def test_a_stolen_token_ends_the_family_as_soon_as_it_can_be_known(connection, seed):
    """An owner and, from some moment on, a thief with a copy of what the owner holds.

    Each uses what they hold, and takes what they get. As long as one of them falls
    behind by a step they can be told apart, and then neither goes on.
    """
    rng, family = random.Random(seed), Family(connection)
    hands = {"owner": family.first}
    step = {family.first: 0}  # how far each token is along the line
    rotated = {}  # when each token was first used

    for _ in range(30):
        family.now += timedelta(seconds=rng.choice([0, 1, 5, 11, 60]))
        if "thief" not in hands and rng.random() < 0.2:
            hands["thief"] = hands["owner"]
        who = rng.choice(sorted(hands))
        token = hands[who]

        outcome = family.show(token)

        newest = max(step.values())
        if step[token] == newest:
            expected = Rotation.ROTATED
            rotated[token] = family.now
        elif step[token] == newest - 1 and family.now - rotated[token] <= GRACE:
            expected = Rotation.REPEATED
        else:
            expected = Rotation.REUSED
        assert outcome is expected, (who, step[token], newest)
        if outcome is Rotation.REUSED:
            assert family.revoked()
            for held in hands.values():
                assert family.show(held) in (Rotation.ENDED, Rotation.REUSED)
            return
        assert family.live() == 1
        assert not family.revoked()
        hands[who] = following(token)
        step[hands[who]] = step[token] + 1


def test_an_owner_alone_is_never_shut_out(connection):
    family, token = Family(connection), None
    token = family.first
    for _ in range(20):
        for _ in range(3):  # asks, loses the answer, asks again
            assert family.show(token) in (Rotation.ROTATED, Rotation.REPEATED)
            family.now += timedelta(seconds=3)
        token = following(token)
        family.now += timedelta(hours=20)


def test_what_has_ended_stays_so(connection):
    disabled, revoked, late = (Family(connection) for _ in range(3))
    set_disabled(connection, disabled.account, disabled=True, now=START)
    set_disabled(connection, disabled.account, disabled=False, now=START)
    revoke_session(connection, revoked.id, now=START, reason="test")
    late.now += LIFETIME

    for family in (disabled, revoked, late):
        assert family.show(family.first) is Rotation.ENDED
    assert late.show(b"of nobody") is Rotation.UNKNOWN


WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


def test_of_two_at_once_the_second_waits_and_gets_the_same(migrated_engine):
    with migrated_engine.begin() as connection:
        family = Family(connection)

    def show():
        with migrated_engine.begin() as connection:
            return rotate(
                connection, family.first, following(family.first), now=START,
                lifetime=LIFETIME,
            ).outcome  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        with migrated_engine.begin() as connection:
            family.connection = connection
            assert family.show(family.first) is Rotation.ROTATED
            second = pool.submit(show)
            # Within one transaction, Postgres would show the same activity each time.
            options = {"isolation_level": "AUTOCOMMIT"}
            with migrated_engine.connect().execution_options(**options) as watching:
                while not watching.execute(WAITING).scalar_one():
                    assert not second.done(), second.result()

        assert second.result(30) is Rotation.REPEATED
