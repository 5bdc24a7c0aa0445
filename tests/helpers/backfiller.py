"""A backfill as a process, to be killed: backfiller.py DATABASE URL WORKERS BULK."""

import asyncio
import sys
from functools import partial

from helpers.business import reopen_business
from indexer.backfill import run_backfill

if __name__ == "__main__":
    database_url, url, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    opener = partial(reopen_business, database_url, url, 4, int(sys.argv[4]))
    done = asyncio.run(run_backfill(opener, workers=workers))
    print(done.facts)
