"""Who may wait: some places are the staff's, and nobody takes more than a few."""

import contextlib

import pytest

from api.errors import Problem
from api.waiting import WAITERS_MOST, WAITERS_OF_ONE, WAITERS_OF_STAFF, Hub, sleep_until

FOREVER = 1e12


@pytest.fixture
def hub(migrated_engine):
    found = Hub(migrated_engine)
    yield found
    found.close()


def fill(stack, hub, tenants, **options):
    """How many places these tenants get, each asking for more than it may have."""
    got = 0
    for tenant in tenants:
        for _ in range(WAITERS_OF_ONE + 1):
            with contextlib.suppress(Problem):
                stack.enter_context(hub.waiter("c", tenant, **options))
                got += 1
    return got


def test_others_leave_places_for_the_staff(hub):
    with contextlib.ExitStack() as stack:
        crowd = [f"account:{number}" for number in range(50)]
        assert WAITERS_MOST - WAITERS_OF_STAFF == fill(stack, hub, crowd)
        assert WAITERS_OF_ONE == fill(stack, hub, ["operator"], staff=True)
        assert WAITERS_OF_STAFF - WAITERS_OF_ONE == fill(
            stack, hub, ["auditor", "compliance"], staff=True
        )
    assert 0 == hub.waiting


def test_nobody_waits_on_for_who_hung_up(hub):
    with hub.waiter("c", "t") as woken:
        woken.hang_up()

        assert not sleep_until(woken, FOREVER)
