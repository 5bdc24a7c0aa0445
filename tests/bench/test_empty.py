"""A history without logs, of which every header is read, in one run with the floor.

Two lengths are read, so that starting a process counts for nothing: what is told is
the time of the blocks by which they differ. Turns alternate, so that a busy neighbour
slows all; the least times are compared. Nothing is asserted: shared machines are noisy.
"""

import os

import pytest
from sqlalchemy import create_engine, text

from bench.recording import record
from bench.test_backfill import SETTINGS, plain, replay, run
from helpers import servers
from ops.embedded.postgres import EmbeddedPostgres

BLOCKS = int(os.environ.get("CHAINFOLD_TEST_BENCH_EMPTY_BLOCKS", "60000"))
ROUNDS = int(os.environ.get("CHAINFOLD_TEST_BENCH_ROUNDS", "3"))
BATCH = 100  # headers in a request, as Chainfold asks for them


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_an_empty_history(tmp_path, capsys):
    times = {}
    with EmbeddedPostgres(tmp_path, settings=SETTINGS) as server:
        for blocks in (BLOCKS // 4, BLOCKS):
            recording = tmp_path / f"{blocks}.gz"
            assert record(recording, blocks, empty=True) == 0
            with replay(recording, tmp_path) as url:
                for _ in range(ROUNDS):
                    for script, last in (("floor.py", BATCH), ("product.py", 1)):
                        with servers.fresh_database(server) as database:
                            target = (
                                database if script == "product.py" else plain(database)
                            )
                            _, seconds = run(script, url, target, last)
                            if script == "product.py":
                                assert remembered(database) == blocks + 1
                        times.setdefault((script, blocks), []).append(seconds)
            recording.unlink()
    rates = {
        script: (BLOCKS - BLOCKS // 4)
        / (min(times[script, BLOCKS]) - min(times[script, BLOCKS // 4]))
        for script in ("floor.py", "product.py")
    }
    with capsys.disabled():
        print(f"\n{BLOCKS:,} blocks without logs, the least of {ROUNDS} rounds")
        print(f"floor     {rates['floor.py']:9,.0f} blocks/s")
        print(f"chainfold {rates['product.py']:9,.0f} blocks/s")
        print(f"ratio {rates['product.py'] / rates['floor.py']:.2f}")


def remembered(url):
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT count(*) FROM control.block"))
    engine.dispose()
    return found
