"""The schedules of followers of Solana find bugs that are put into the reader."""

import pytest

from helpers import cluster_schedules
from helpers.solana_bugs import BUGS, both_ways_are_two

SEEDS = range(400)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The double writes each event in one way; a real program is there for the other bug.
FOUND = [bug for bug in BUGS if bug is not both_ways_are_two]


@pytest.mark.parametrize("bug", FOUND, ids=lambda bug: bug.__name__)
def test_a_bug_is_found(open_stage, bug, monkeypatch):
    bug(monkeypatch)
    with open_stage(cluster_schedules.REGISTRY) as stage:
        found = next((n for n in SEEDS if cluster_schedules.run(stage, n)), None)

    assert found is not None
    print(f"{bug.__name__}: found by schedule {found}")
