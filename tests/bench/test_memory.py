"""Peak memory of a backfill at three lengths of history: it should not follow them."""

import pytest

from bench.recording import record
from bench.test_backfill import SETTINGS, replay, run, sums
from helpers import servers
from ops.embedded.postgres import EmbeddedPostgres

LENGTHS = (400, 2000, 4000)  # blocks: about 100,000, 500,000 and 1,000,000 logs


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_memory_does_not_follow_the_length_of_history(tmp_path, capsys):
    found = []
    with EmbeddedPostgres(tmp_path, settings=SETTINGS) as server:
        for blocks in LENGTHS:
            recording = tmp_path / f"{blocks}.gz"
            logs = record(recording, blocks)
            with (
                replay(recording, tmp_path) as url,
                servers.fresh_database(server) as database,
            ):
                answer, seconds = run("product.py", url, database, 1)
                assert answer["facts"] == logs
                assert sums(database, "state.")["campaigns"][0] == blocks // 10
            recording.unlink()
            found.append((logs, answer["peak_mb"], seconds))
    shortest, longest = found[0], found[-1]
    with capsys.disabled():
        print("\npeak memory of the indexer, one worker")
        for logs, peak, seconds in found:
            print(f"{logs:10,} logs {peak:6} MB {seconds:7.2f} s")
        print(
            f"{longest[0] / shortest[0]:.0f} times the history:"
            f" {longest[1] / shortest[1]:.2f} times the memory (wanted: under 1.2)"
        )
