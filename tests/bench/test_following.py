"""A chain that makes 50 blocks in a second is followed, and does not run away."""

import statistics

import pytest

from bench import recording
from bench.test_backfill import SETTINGS, replay, run
from helpers import servers
from ops.embedded.postgres import EmbeddedPostgres

RATE, SECONDS = 50, 30
BEHIND_SECONDS = 4  # of the last third, at most: one poll, one step, and a busy machine


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_fifty_blocks_a_second_are_followed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recording, "TRANSFERS", 6)
    monkeypatch.setattr(recording, "INVESTMENTS", 4)
    chain = tmp_path / "chain.gz"
    logs = recording.record(chain, RATE * (SECONDS + 60))
    with (
        EmbeddedPostgres(tmp_path, settings=SETTINGS) as server,
        replay(chain, tmp_path, rate=RATE) as url,
        servers.fresh_database(server) as database,
    ):
        answer, _ = run("following.py", url, database, SECONDS)
    behind = answer["behind"]
    third = len(behind) // 3
    last = statistics.median(behind[-third:])
    with capsys.disabled():
        print(f"\n{RATE} blocks a second, {logs / RATE / (SECONDS + 60):.0f} logs each")
        print(f"behind by {last / RATE:.2f} s of blocks in the last third, median")
        print(f"and by {max(behind) / RATE:.2f} s at most")
    assert last <= BEHIND_SECONDS * RATE
