"""The schedules of followers of Solana find bugs that are put into the reader."""

import pytest

from helpers import cluster_schedules
from helpers.solana_bugs import BUGS, both_ways_are_two, empty_is_the_beginning

SEEDS = range(400)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The double writes each event in one way, and what an empty page hides is listed again
# in its short history: `tests/indexer/solana/test_planted_bugs.py` finds these two.
OTHERS = (both_ways_are_two, empty_is_the_beginning)
FOUND = [bug for bug in BUGS if bug not in OTHERS]


@pytest.mark.parametrize("bug", FOUND, ids=lambda bug: bug.__name__)
def test_a_bug_is_found(open_stage, bug, monkeypatch):
    bug(monkeypatch)
    with open_stage(cluster_schedules.REGISTRY) as stage:
        found = next((n for n in SEEDS if cluster_schedules.run(stage, n)), None)

    assert found is not None
    print(f"{bug.__name__}: found by schedule {found}")
