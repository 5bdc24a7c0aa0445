"""Writing and folding a long history, one range a transaction and many, in one run.

Rounds alternate, so that a busy neighbour slows both; the least times are compared.
The targets are printed, not asserted: shared machines are noisy.
"""

import os

import pytest
from sqlalchemy import create_engine, text

from bench.test_backfill import SETTINGS, plain, run
from helpers import servers
from ops.embedded.postgres import EmbeddedPostgres

FACTS = int(os.environ.get("CHAINFOLD_TEST_BENCH_FACTS", "4000000"))
ROUNDS = int(os.environ.get("CHAINFOLD_TEST_BENCH_ROUNDS", "2"))


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_history_is_folded_once_for_many_ranges(tmp_path, capsys):
    seconds = {0: [], 1_000_000: []}
    peaks, rows = [], set()
    with EmbeddedPostgres(tmp_path, settings=SETTINGS) as server:
        for _ in range(ROUNDS):
            for bulk_facts, found in seconds.items():
                with servers.fresh_database(server) as database:
                    answer, _ = run("folding.py", plain(database), FACTS, bulk_facts)
                    found.append(answer["seconds"])
                    rows.add(_sums(database))
            peaks.append(answer["peak_mb"])
    assert len(rows) == 1
    one, many = (min(found) for found in seconds.values())
    with capsys.disabled():
        print(f"\n{FACTS:,} transfers among 100,000 holders, least of {ROUNDS} rounds")
        print(f"one range a transaction      {one:6.2f} s")
        print(f"a million facts a transaction {many:5.2f} s")
        print(f"ratio {many / one:.2f} (wanted: 0.60)")
        print(f"peak memory of the indexer {max(peaks)} MB (wanted: under 250)")


def _sums(url):
    engine = create_engine(url)
    with engine.connect() as connection:
        query = "SELECT count(*), sum(abs(balance)), sum(received), max(received_at)"
        found = tuple(connection.execute(text(f"{query} FROM state.holders")).one())
    engine.dispose()
    return found
