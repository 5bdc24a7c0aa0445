"""The lock by which one process at a time lists an address."""

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from db.engine import connect
from db.solana.listing import alone

ADDRESS = bytes(range(32))


@pytest.fixture
def engine(migrated_url):
    """With one connection, which would keep a lock that nobody gives back."""
    engine = connect(migrated_url)
    yield engine
    engine.dispose()


def is_free(engine):
    with alone(engine, 1, ADDRESS) as given:
        return given


def test_others_wait_for_the_one_that_has_it(engine, migrated_url):
    other = connect(migrated_url)
    with alone(engine, 1, ADDRESS) as given:
        assert given
        assert not is_free(other)
        with alone(other, 1, bytes(32)) as another:
            assert another
    assert is_free(other)
    other.dispose()


@pytest.mark.parametrize("words", ["pg_try_advisory_lock", "pg_advisory_unlock"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_statement_that_fails_leaves_no_lock(engine, migrated_url, words, when):
    other = connect(migrated_url)

    def fail(connection, cursor, statement, *others):
        if words in statement:
            event.remove(engine, f"{when}_cursor_execute", fail)
            raise OperationalError(statement, None, Exception("cut"))

    event.listen(engine, f"{when}_cursor_execute", fail)
    with pytest.raises(OperationalError), alone(engine, 1, ADDRESS):
        pass

    assert is_free(other)
    assert is_free(engine)
    other.dispose()


def test_an_error_of_the_walk_gives_it_back(engine, migrated_url):
    other = connect(migrated_url)
    with pytest.raises(KeyError), alone(engine, 1, ADDRESS):
        raise KeyError("a page")

    assert is_free(other)
    other.dispose()
