"""(a) The floor: a bare script, hand-written decoders, the same tables.

No reorg handling, no resume, no checks, one endpoint: what Python and Postgres can do
when nothing else is asked of them. floor.py URL DATABASE_URL [BLOCKS_PER_REQUEST]
"""

import asyncio
import gc
import io
import json
import sys

import aiohttp
import msgspec
import psycopg2

from bench.recording import CREATED, INVESTED, TRANSFER

BLOCKS_PER_REQUEST = 10
FACTS_PER_COMMIT = 50_000

TABLES = """
CREATE TABLE transfer (source smallint, position bigint, block_time bigint,
  transaction bytea, sender bytea, recipient bytea, value numeric(78,0),
  PRIMARY KEY (source, position));
CREATE TABLE created (source smallint, position bigint, block_time bigint,
  transaction bytea, campaign bytea, issuer bytea, goal numeric(78,0),
  PRIMARY KEY (source, position));
CREATE TABLE invested (source smallint, position bigint, block_time bigint,
  transaction bytea, campaign bytea, investor bytea, amount numeric(78,0),
  total_raised numeric(78,0), PRIMARY KEY (source, position));
CREATE TABLE balances (source smallint, holder bytea, balance numeric NOT NULL,
  PRIMARY KEY (source, holder)) WITH (fillfactor=50);
CREATE TABLE campaigns (source smallint, campaign bytea, issuer bytea, goal numeric,
  raised numeric NOT NULL, investments bigint NOT NULL, last_invested_at bigint,
  PRIMARY KEY (source, campaign)) WITH (fillfactor=50);
CREATE TABLE holdings (source smallint, campaign bytea, investor bytea,
  paid_in numeric NOT NULL, investments bigint NOT NULL,
  PRIMARY KEY (source, campaign, investor)) WITH (fillfactor=50);
CREATE TABLE block (source smallint, height bigint, hash bytea, parent_hash bytea,
  time bigint, PRIMARY KEY (source, height));
"""

FOLDS = [
    """INSERT INTO balances SELECT source, holder, sum(v) FROM (
      SELECT source, recipient AS holder, value AS v FROM transfer
        WHERE position BETWEEN %(lo)s AND %(hi)s
      UNION ALL SELECT source, sender, -value FROM transfer
        WHERE position BETWEEN %(lo)s AND %(hi)s) t GROUP BY source, holder
      ORDER BY source, holder
      ON CONFLICT (source, holder) DO UPDATE SET
        balance = balances.balance + excluded.balance""",
    """INSERT INTO campaigns SELECT source, campaign, issuer, goal, 0, 0, NULL
      FROM created WHERE position BETWEEN %(lo)s AND %(hi)s""",
    """INSERT INTO campaigns SELECT source, campaign, NULL, NULL, sum(amount), count(*),
        max(block_time) FROM invested WHERE position BETWEEN %(lo)s AND %(hi)s
      GROUP BY source, campaign ORDER BY source, campaign
      ON CONFLICT (source, campaign) DO UPDATE SET
        raised = campaigns.raised + excluded.raised,
        investments = campaigns.investments + excluded.investments,
        last_invested_at = greatest(campaigns.last_invested_at,
                                    excluded.last_invested_at)""",
    """INSERT INTO holdings SELECT source, campaign, investor, sum(amount), count(*)
      FROM invested WHERE position BETWEEN %(lo)s AND %(hi)s
      GROUP BY source, campaign, investor ORDER BY source, campaign, investor
      ON CONFLICT (source, campaign, investor) DO UPDATE SET
        paid_in = holdings.paid_in + excluded.paid_in,
        investments = holdings.investments + excluded.investments""",
]


class Log(msgspec.Struct, gc=False, rename="camel"):
    address: str
    topics: list[str]
    data: str
    block_number: str
    transaction_hash: str


class Header(msgspec.Struct, gc=False, rename="camel"):
    number: str
    hash: str
    parent_hash: str
    timestamp: str


class LogsAnswer(msgspec.Struct, gc=False):
    result: list[Log]


class HeaderAnswer(msgspec.Struct, gc=False):
    result: Header


LOGS = msgspec.json.Decoder(LogsAnswer)
HEADERS = msgspec.json.Decoder(list[HeaderAnswer])


async def fetch(session, url, first, last):
    call = [
        {
            "jsonrpc": "2.0",
            "id": n,
            "method": "eth_getBlockByNumber",
            "params": [hex(n), False],
        }
        for n in range(first, last + 1)
    ]
    logs = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_getLogs",
        "params": [{"fromBlock": hex(first), "toBlock": hex(last)}],
    }

    async def post(body):
        async with session.post(url, json=body) as answer:
            return await answer.read()

    headers, found = await asyncio.gather(post(call), post(logs))
    headers = [answer.result for answer in HEADERS.decode(headers)]
    return headers, LOGS.decode(found).result


def write(connection, rows, first, last):
    with connection, connection.cursor() as cursor:
        for table, lines in rows.items():
            cursor.copy_expert(
                f"COPY {table} FROM STDIN", io.StringIO("".join(lines)), 1 << 20
            )
        bounds = {"lo": first << 32, "hi": (last + 1 << 32) - 1}
        for fold in FOLDS:
            cursor.execute(fold, bounds)


def decode(headers, logs, rows):
    times = {header.number: int(header.timestamp, 16) for header in headers}
    block, transfer = rows["block"], rows["transfer"]
    created, invested = rows["created"], rows["invested"]
    for header in headers:
        block.append(
            f"1\t{int(header.number, 16)}\t\\\\x{header.hash[2:]}"
            f"\t\\\\x{header.parent_hash[2:]}\t{times[header.number]}\n"
        )
    number, rank = "", 0
    for log in logs:
        if log.block_number != number:
            number, rank = log.block_number, 0
            base, time = int(number, 16) << 32, times[number]
        at = base | rank
        rank += 1
        topics, data = log.topics, log.data
        topic = topics[0]
        head = f"1\t{at}\t{time}\t\\\\x{log.transaction_hash[2:]}\t\\\\x"
        if topic == TRANSFER:
            transfer.append(
                f"{head}{topics[1][26:]}\t\\\\x{topics[2][26:]}\t{int(data, 16)}\n"
            )
        elif topic == INVESTED:
            invested.append(
                f"{head}{log.address[2:]}\t\\\\x{topics[1][26:]}"
                f"\t{int(data[2:66], 16)}\t{int(data[66:], 16)}\n"
            )
        elif topic == CREATED:
            created.append(
                f"{head}{topics[1][26:]}\t\\\\x{topics[2][26:]}\t{int(data, 16)}\n"
            )


async def main(url, database_url, per_request=BLOCKS_PER_REQUEST):
    gc.freeze()
    gc.disable()
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
    async with aiohttp.ClientSession() as session:
        latest = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_blockNumber",
            "params": [],
        }
        async with session.post(url, json=latest) as answer:
            head = int((await answer.json())["result"], 16)
        names = ("transfer", "created", "invested", "block")
        rows = {name: [] for name in names}
        first, facts, pending = 0, 0, None
        starts = range(0, head + 1, per_request)
        ahead = asyncio.create_task(fetch(session, url, 0, min(per_request - 1, head)))
        for start in starts:
            last = min(start + per_request - 1, head)
            headers, logs = await ahead
            if last < head:
                after = min(last + per_request, head)
                ahead = asyncio.create_task(fetch(session, url, last + 1, after))
                await asyncio.sleep(0)
            decode(headers, logs, rows)
            facts += len(logs)
            if facts >= FACTS_PER_COMMIT or last == head:
                if pending:
                    await pending
                pending = asyncio.create_task(
                    asyncio.to_thread(write, connection, rows, first, last)
                )
                rows = {name: [] for name in names}
                first, facts = last + 1, 0
        await pending
    print(json.dumps({"done": True}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
