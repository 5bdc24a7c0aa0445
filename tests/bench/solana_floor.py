"""The floor for Solana: a bare script, hand-written decoders, the same tables.

Listing, fetching, struct, COPY: no overlap of pages, no second endpoint, no resume, no
checks of who called whom; what Python and Postgres can do when nothing else is asked of
them. solana_floor.py URL DATABASE_URL PROGRAM
"""

import asyncio
import base64
import gc
import io
import json
import struct
import sys
from collections import deque
from functools import lru_cache
from hashlib import sha256
from typing import Any

import aiohttp
import msgspec
import psycopg2
from based58 import b58decode, b58encode

PAGE, BATCH, UNDER_WAY = 1_000, 100, 8
FACTS_PER_COMMIT = 50_000

KEYS = "source smallint, position bigint, block_time bigint, transaction bytea"
ENTRY = "id bytea, entry jsonb, author bytea"
LAST = "program bytea, PRIMARY KEY (source, position)"
TABLES = f"""
CREATE TABLE recorded ({KEYS}, author bytea, id bytea, amount numeric(78,0),
  level bigint, urgent boolean, note text, limit_ jsonb, kind jsonb, referrer jsonb,
  shares jsonb, {LAST});
CREATE TABLE marked ({KEYS}, first numeric(78,0), second numeric(78,0), {LAST});
CREATE TABLE mark ({KEYS}, first numeric(78,0), second numeric(78,0), {LAST});
CREATE TABLE emit ({KEYS}, {ENTRY}, referrer jsonb, {LAST});
CREATE TABLE emit_by_call ({KEYS}, {ENTRY}, referrer jsonb, event_authority bytea,
  called bytea, {LAST});
CREATE TABLE record ({KEYS}, {ENTRY}, receipt bytea, referrer jsonb,
  system_program bytea, event_authority bytea, called bytea, {LAST});
CREATE TABLE relay ({KEYS}, data bytea, target bytea, {LAST});
CREATE TABLE failed (source smallint, position bigint, block_time bigint,
  transaction bytea, error text, PRIMARY KEY (source, position));
CREATE TABLE authors (source smallint, author bytea, total numeric NOT NULL,
  entries bigint NOT NULL, last_at bigint,
  PRIMARY KEY (source, author)) WITH (fillfactor=50);
CREATE TABLE days (source smallint, day bigint, entries bigint NOT NULL,
  volume numeric NOT NULL, PRIMARY KEY (source, day)) WITH (fillfactor=50);
"""
NAMES = (
    "recorded", "marked", "mark", "emit", "emit_by_call", "record", "relay", "failed"
)  # fmt: skip
FOLDS = [
    """INSERT INTO authors SELECT source, author, sum(amount), count(*),
        max(block_time) FROM recorded WHERE position BETWEEN %(lo)s AND %(hi)s
      GROUP BY source, author ORDER BY source, author
      ON CONFLICT (source, author) DO UPDATE SET
        total = authors.total + excluded.total,
        entries = authors.entries + excluded.entries,
        last_at = greatest(authors.last_at, excluded.last_at)""",
    """INSERT INTO days SELECT source, block_time / 86400, count(*), sum(amount)
      FROM recorded WHERE position BETWEEN %(lo)s AND %(hi)s GROUP BY 1, 2 ORDER BY 1, 2
      ON CONFLICT (source, day) DO UPDATE SET entries = days.entries + excluded.entries,
        volume = days.volume + excluded.volume""",
]


class Line(msgspec.Struct, gc=False):
    signature: str


class Instruction(msgspec.Struct, gc=False, rename="camel"):
    program_id_index: int
    accounts: list[int]
    data: str


class Inner(msgspec.Struct, gc=False):
    index: int
    instructions: list[Instruction]


class Meta(msgspec.Struct, gc=False, rename="camel"):
    err: Any
    inner_instructions: list[Inner]
    log_messages: list[str]


class Message(msgspec.Struct, gc=False, rename="camel"):
    account_keys: list[str]
    instructions: list[Instruction]


class Signed(msgspec.Struct, gc=False):
    signatures: list[str]
    message: Message


class Transaction(msgspec.Struct, gc=False, rename="camel"):
    slot: int
    block_time: int
    transaction_index: int
    transaction: Signed
    meta: Meta


class Page(msgspec.Struct, gc=False):
    result: list[Line]


class Answer(msgspec.Struct, gc=False):
    result: Transaction


PAGES = msgspec.json.Decoder(Page)
ANSWERS = msgspec.json.Decoder(list[Answer])


def named(space: str, name: str) -> bytes:
    return sha256(f"{space}:{name}".encode()).digest()[:8]


EVENT = bytes.fromhex("e445a52e51cb9a1d")
RECORDED, MARKED = named("event", "Recorded"), named("event", "Marked")
CALLS = {
    named("global", name): name
    for name in ("emit", "emit_by_call", "record", "mark", "relay")
}
DATA = "Program data: "
HEAD, SHARE, NUMBERS = struct.Struct("<QB?I"), struct.Struct("<32sQ"), "<{}Q"
PAID, CLOSED, PAIR = struct.Struct("<Q?"), struct.Struct("<BQ"), struct.Struct("<QQ")


@lru_cache(maxsize=1 << 16)
def key_hex(text: str) -> str:
    return b58decode(text.encode()).hex()


@lru_cache(maxsize=1 << 16)
def key_text(raw: bytes) -> str:
    return b58encode(raw).decode()


def kind(body: bytes, at: int) -> tuple[Any, int]:
    tag = body[at]
    if tag == 0:
        return "Opened", at + 1
    if tag == 1:
        fee, last = PAID.unpack_from(body, at + 1)
        return {"Paid": {"fee": str(fee), "last": last}}, at + 10
    return {"Closed": [str(each) for each in CLOSED.unpack_from(body, at + 1)]}, at + 10


def begin(body: bytes, at: int) -> tuple[int, int, bool, str, str | None, Any, int]:
    """The fields that an entry and an event have in common, and where they end."""
    amount, level, urgent, size = HEAD.unpack_from(body, at)
    at += HEAD.size
    note = body[at : at + size].decode()
    at += size
    limit = None
    if body[at]:
        limit = str(int.from_bytes(body[at + 1 : at + 9], "little"))
        at += 8
    told, at = kind(body, at + 1)
    return amount, level, urgent, note, limit, told, at


def dumped(value: Any) -> str:
    return json.dumps(value).replace("\\", "\\\\")


def recorded(start: str, body: bytes, end: str, rows: dict) -> None:
    amount, level, urgent, note, limit, told, at = begin(body, 72)
    referrer = None
    if body[at]:
        referrer = key_text(body[at + 1 : at + 33])
        at += 32
    shares = [
        {"account": key_text(account), "amount": str(share)}
        for account, share in SHARE.iter_unpack(body[at + 5 :])
    ]
    rows["recorded"].append(
        f"{start}\\\\x{body[8:40].hex()}\t\\\\x{body[40:72].hex()}\t{amount}\t{level}"
        f"\t{urgent}\t{note}\t{dumped(limit)}\t{dumped(told)}\t{dumped(referrer)}"
        f"\t{dumped(shares)}{end}"
    )


def called(start: str, name: str, body: bytes, keys: list[str], end: str, rows: dict):
    if name == "mark":
        first, second = PAIR.unpack_from(body, 8)
        rows["mark"].append(f"{start}{first}\t{second}{end}")
        return
    if name == "relay":
        rows["relay"].append(
            f"{start}\\\\x{body[12:].hex()}\t\\\\x{key_hex(keys[0])}{end}"
        )
        return
    amount, level, urgent, note, limit, told, at = begin(body, 40)
    count = int.from_bytes(body[at : at + 4], "little")
    amounts = struct.unpack_from(NUMBERS.format(count), body, at + 4)
    entry = {
        "amount": str(amount), "level": str(level), "urgent": urgent, "note": note,
        "limit": limit, "kind": told, "amounts": [str(each) for each in amounts],
    }  # fmt: skip
    head = f"{start}\\\\x{body[8:40].hex()}\t{dumped(entry)}"
    named = [f"\t\\\\x{key_hex(key)}" for key in keys[:6]]
    at = 2 if name == "record" else 1
    text = keys[at]
    named[at] = "\tnull" if text == PROGRAM else f'\t"{text}"'
    wanted = {"emit": 2, "emit_by_call": 4, "record": 6}[name]
    rows[name].append(f"{head}{''.join(named[:wanted])}{end}")


def decode(found: list[Answer], rows: dict, end: str) -> int:
    count = 0
    for answer in found:
        each = answer.result
        base = each.slot << 32 | each.transaction_index << 16
        keys, meta = each.transaction.message.account_keys, each.meta
        signature = b58decode(each.transaction.signatures[0].encode()).hex()
        after = f"\t{each.block_time}\t\\\\x{signature}\t"
        if meta.err is not None:
            rows["failed"].append(f"1\t{base}{after}{dumped(meta.err)}\n")
            continue
        inner = {group.index: group.instructions for group in meta.inner_instructions}
        given = set()
        number = base
        for at, outer in enumerate(each.transaction.message.instructions):
            for call in (outer, *inner.get(at, ())):
                if keys[call.program_id_index] != PROGRAM:
                    continue
                body = b58decode(call.data.encode())
                tag = body[:8]
                start = f"1\t{number}{after}"
                number += 1
                if tag == EVENT:
                    given.add(body[8:])
                    recorded(start, body[8:], end, rows)
                elif name := CALLS.get(tag):
                    accounts = [keys[one] for one in call.accounts]
                    called(start, name, body, accounts, end, rows)
        for line in meta.log_messages:
            if not line.startswith(DATA):
                continue
            body = base64.b64decode(line[len(DATA) :])
            start = f"1\t{number}{after}"
            number += 1
            if body[:8] == MARKED:
                first, second = PAIR.unpack_from(body, 8)
                rows["marked"].append(f"{start}{first}\t{second}{end}")
            elif body[:8] == RECORDED and body not in given:
                recorded(start, body, end, rows)
        count += number - base
    return count


def write(connection, rows: dict, bounds: dict) -> None:
    with connection, connection.cursor() as cursor:
        for table, lines in rows.items():
            cursor.copy_expert(
                f"COPY {table} FROM STDIN", io.StringIO("".join(lines)), 1 << 20
            )
        for fold in FOLDS:
            cursor.execute(fold, bounds)


def call(method: str, *params: object, at: int = 1) -> dict:
    return {"jsonrpc": "2.0", "id": at, "method": method, "params": params}


async def main(url: str, database_url: str) -> None:
    gc.freeze()
    gc.disable()
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(body: object) -> bytes:
            async with session.post(url, data=msgspec.json.encode(body)) as answer:
                return await answer.read()

        listed: list[str] = []
        while True:
            config = {"limit": PAGE, **({"before": listed[-1]} if listed else {})}
            asked = call("getSignaturesForAddress", PROGRAM, config)
            page = PAGES.decode(await post(asked)).result
            listed += [line.signature for line in page]
            if len(page) < PAGE:
                break
        listed.reverse()
        config = {
            "encoding": "json", "commitment": "confirmed",
            "maxSupportedTransactionVersion": 1,
        }  # fmt: skip
        batches = iter(
            [
                call("getTransaction", signature, config, at=at)
                for at, signature in enumerate(listed[first : first + BATCH])
            ]
            for first in range(0, len(listed), BATCH)
        )
        going: deque[asyncio.Task[bytes]] = deque()
        rows: dict[str, list[str]] = {name: [] for name in NAMES}
        end = f"\t\\\\x{key_hex(PROGRAM)}\n"
        facts, count, low, pending = 0, 0, 0, None
        while True:
            while len(going) < UNDER_WAY and (batch := next(batches, None)):
                going.append(asyncio.create_task(post(batch)))
            if going:
                found = ANSWERS.decode(await going.popleft())
                count += decode(found, rows, end)
                last = found[-1].result
            if count < FACTS_PER_COMMIT and going:
                continue
            if pending:
                await pending
            high = last.slot << 32 | last.transaction_index << 16 | 0xFFFF
            pending = asyncio.create_task(
                asyncio.to_thread(write, connection, rows, {"lo": low, "hi": high})
            )
            await asyncio.sleep(0)
            facts, count, low = facts + count, 0, high + 1
            rows = {name: [] for name in NAMES}
            if not going:
                break
        await pending
    print(json.dumps({"facts": facts, "transactions": len(listed)}))


if __name__ == "__main__":
    PROGRAM = sys.argv[3]
    asyncio.run(main(sys.argv[1], sys.argv[2]))
