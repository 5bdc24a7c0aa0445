"""A signer's queue is counted once in a second, and exactly where it is nearly full."""

import pytest
from sqlalchemy import event

from db.commands.errors import TooManyWaiting
from db.commands.evm.closing import cancel
from db.commands.queue import FRESH_SECONDS, NEAR, Queues
from helpers.counter import Counter, identity, request


class Watch:
    time = 0.0

    def __call__(self):
        return self.time


@pytest.fixture
def counter(migrated_engine):
    return Counter(migrated_engine)


def enter(counter, queues, times=1):
    """How many countings that took."""
    counted = []
    with counter.engine.connect() as connection:
        event.listen(
            connection, "before_cursor_execute",
            lambda c, cursor, statement, *_: counted.append(statement),
        )  # fmt: skip
        for _ in range(times):
            queues.enter(connection, "s")
    return len(counted)


def test_a_short_queue_is_counted_once_in_a_second(counter):
    counter.ask(1)

    queues = Queues(NEAR + 100, Watch())

    assert 1 == enter(counter, queues, 3)
    queues._clock.time = FRESH_SECONDS / 2
    assert 0 == enter(counter, queues)
    queues._clock.time = FRESH_SECONDS
    assert 1 == enter(counter, queues)


def test_one_that_is_nearly_full_is_counted_for_each(counter):
    counter.ask(4)

    assert 3 == enter(counter, Queues(NEAR + 4, Watch()), 3)


def test_what_this_process_took_is_added(counter):
    queues = Queues(NEAR + 100, Watch())

    assert 2 == enter(counter, queues, 101)  # by its own count it is nearly full then


def test_a_full_queue_is_refused_until_it_is_shorter(counter):
    queues = Queues(3, Watch())
    counter.ask(3)

    with pytest.raises(TooManyWaiting, match="3 commands waiting. Ask again later"):
        enter(counter, queues)
    with counter.engine.begin() as connection:
        cancel(connection, identity(0), counter.now)
    assert 1 == enter(counter, queues)


def test_each_signer_has_its_own(counter):
    queues = Queues(3, Watch())
    counter.ask(3)

    with counter.engine.connect() as connection:
        queues.enter(connection, "another")
    assert request(0, counter.source).signer == "s"
