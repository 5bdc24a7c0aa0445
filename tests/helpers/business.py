"""A small business on a fake EVM chain: deals made by a factory, tokens moved.

`play` mines seeded blocks; `facts_of` says what the facts of a chain are, from its
blocks and not through the indexer, so that tables can be held against
`helpers.reference`.
"""

import random
from contextlib import asynccontextmanager

from eth_hash.auto import keccak

from db import sources
from db.declare import (
    Address,
    Contract,
    Count,
    CountDistinct,
    Event,
    First,
    Key,
    Latest,
    Projection,
    Stage,
    Sum,
    Text,
    Uint,
)
from db.declare.evm.signatures import signature
from db.engine import connect
from db.facts import Fact
from db.position import position
from db.registry import Registry
from helpers.ledger import abi_event
from helpers.rpc import FakeTx, log_for
from indexer.chain import Chain
from indexer.evm.client import RpcClient
from indexer.evm.filters import FollowedContract
from indexer.evm.finality import Ibft
from indexer.evm.source import EvmSource
from indexer.follow import check_genesis
from indexer.source import Child
from indexer.streams import Wanted, plan_streams

FACTORY = b"\xfa" * 20
TOKEN = b"\x70" * 20
PEOPLE = [bytes([n]) * 20 for n in range(0x11, 0x19)]

factory = Contract(
    "DealFactory",
    abi=[
        abi_event("DealMade", deal="address", owner="indexed_address", title="string")
    ],
)


class DealMade(Event):
    """The factory made a deal."""

    source = factory
    deal = Address()
    owner = Address()
    title = Text()


deals = Contract(
    "Deal",
    created_by=DealMade.deal,
    abi=[
        abi_event("Paid", payer="indexed_address", amount="uint256"),
        abi_event("Closed", good="bool"),
    ],
)


class Paid(Event):
    """Money came in."""

    source = deals
    deal = Address(emitter=True)
    payer = Address()
    amount = Uint()


token = Contract(
    "Coin",
    abi=[
        abi_event(
            "Transfer",
            **{"from": "indexed_address", "to": "indexed_address", "value": "uint256"},
        )
    ],
)


class Moved(Event):
    """A coin moved."""

    source = token
    name = "Transfer"
    sender = Address(param="from")
    recipient = Address(param="to")
    value = Uint()


class DealRow(Projection):
    """One row per deal."""

    deal = Key()

    title = First(DealMade.title)
    raised = Sum(Paid.amount)
    payments = Count(Paid)
    payers = CountDistinct(Paid.payer)
    last_payer = Latest(Paid.payer)
    stage = Stage(([""], DealMade, "open"), (["open"], Paid, "paid"))


class Purse(Projection):
    """One row per holder."""

    holder = Key()

    coins = Sum(
        Moved.keyed(holder="recipient").value, -Moved.keyed(holder="sender").value
    )


REGISTRY = Registry.of([DealMade, Paid, Moved], [DealRow, Purse])
ADDRESSES = {"DealFactory": {FACTORY: 0}, "Coin": {TOKEN: 0}}


def play(chain, blocks, seed):
    """Mine this many blocks of business on a FakeEvmChain."""
    rng = random.Random(seed)
    made = [log.data[12:32] for _, log in _logs(chain) if log.address == FACTORY]
    for _ in range(blocks):
        transactions = []
        for _ in range(rng.randrange(0, 4)):
            transactions.append(FakeTx(logs=_some_logs(rng, made)))
        chain.mine(*transactions)


def _some_logs(rng, made):
    logs = []
    for _ in range(rng.randrange(1, 4)):
        roll = rng.random()
        if roll < 0.15 or not made:
            deal = keccak(rng.randbytes(8))[:20]
            first = _paid(rng, deal)  # a child may speak before it is announced
            made.append(deal)
            announced = log_for(
                DealMade, FACTORY, deal="0x" + deal.hex(), owner=rng.choice(PEOPLE),
                title=f"deal {rng.randrange(100)}",
            )  # fmt: skip
            logs += [first, announced] if rng.random() < 0.5 else [announced, first]
        elif roll < 0.6:
            logs.append(_paid(rng, rng.choice(made)))
        else:
            logs.append(
                log_for(
                    Moved, TOKEN,
                    **{"from": rng.choice(PEOPLE), "to": rng.choice(PEOPLE)},
                    value=rng.randrange(10**20),
                )
            )  # fmt: skip
    return logs


def _paid(rng, deal):
    amount = rng.choice([1, 10**18, 2**255])
    return log_for(Paid, deal, payer=rng.choice(PEOPLE), amount=amount)


def facts_of(chain, ordinal=None):
    """Every fact of the business on a fake chain, decoded by hand.

    `ordinal` makes the place of a log of its transaction, its index in it and in the
    block; the rank, which is the last, stands for it where there is none.
    """
    children = {log.data[12:32] for _, log in _logs(chain) if log.address == FACTORY}
    topics = {
        keccak(signature(event.spec.schema).encode()): event
        for event in (DealMade, Paid, Moved)
    }
    facts = []
    for block in chain.blocks:
        for rank, (at, in_tx, in_block, log) in enumerate(block.logs):
            event = topics.get(log.topics[0]) if log.topics else None
            if event is None or (event is Paid and log.address not in children):
                continue
            if ordinal is not None:
                rank = ordinal(at, in_tx, in_block)
            facts.append(
                Fact(
                    event,
                    position(block.number, rank),
                    block.time,
                    block.transactions[at][0],
                    _values(event, log),
                )
            )
    return facts


def _values(event, log):
    if event is DealMade:
        size = int.from_bytes(log.data[64:96])
        return {
            "deal": log.data[12:32],
            "owner": log.topics[1][12:],
            "title": log.data[96 : 96 + size].decode(),
        }
    if event is Paid:
        return {
            "deal": log.address,
            "payer": log.topics[1][12:],
            "amount": int.from_bytes(log.data),
        }
    return {
        "sender": log.topics[1][12:],
        "recipient": log.topics[2][12:],
        "value": int.from_bytes(log.data),
    }


def _logs(chain):
    for block in chain.blocks:
        for _, _, _, log in block.logs:
            yield block.number, log


@asynccontextmanager
async def open_business(
    engine, *urls, chain_id=31337, finality=None, addresses=None, **options
):
    """The business as a chain that can be followed, on a migrated database."""
    number = f"eip155:{chain_id}"
    mode = options.pop("mode", "all")
    watch = frozenset(options.pop("watch_senders", ()))
    timeout = options.pop("request_timeout_seconds", 2)
    options.setdefault("bulk_facts", 0)
    with engine.begin() as connection:
        row = sources.register(
            connection, name="fake", chain_id=number,
            ordinals="rank" if mode == "all" else "log_index",
        )  # fmt: skip
        known = [Child(*each) for each in sources.children(connection, row.id)]
    addresses = addresses or ADDRESSES
    followed = [
        FollowedContract(contract, addresses.get(name, {}), REGISTRY.events_of(name))
        for name, contract in REGISTRY.contracts.items()
    ]
    client = RpcClient(
        urls, chain_id, request_timeout_seconds=timeout, sleep=_no_sleep, attempts=8
    )
    source = EvmSource(
        "fake", number, client, followed, finality or Ibft(), mode=mode,
        traits=row.traits,
        known_children=known, watch_senders=watch,
    )  # fmt: skip
    streams = plan_streams(REGISTRY, Wanted(0, addresses, watch))
    chain = Chain(engine, REGISTRY, source, row.id, streams, **options)
    try:
        await check_genesis(chain)
        yield chain
    finally:
        chain.drop_ahead()
        await source.close()


async def _no_sleep(seconds):
    return None


@asynccontextmanager
async def reopen_business(database_url, url, blocks_per_range=10, bulk_facts=0):
    """Open the business in a worker process, which is given only texts."""
    engine = connect(database_url, pool_size=2)
    try:
        async with open_business(
            engine,
            url,
            blocks_per_range=blocks_per_range,
            range_blocks=blocks_per_range if bulk_facts else 1000,
            bulk_facts=bulk_facts,
        ) as chain:
            yield chain
    finally:
        engine.dispose()
