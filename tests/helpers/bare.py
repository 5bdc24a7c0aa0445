"""Contracts of settings on fake chains: families of vaults, and who announces them.

A registry announces shops; a shop announces vaults with two overloaded events, one of
them in two parameters, and in a list; and a vault announces vaults.
"""

import asyncio
import json
import random
import time

from eth_hash.auto import keccak
from sqlalchemy import text

from db.schema import migrate
from helpers.following import catch_up
from helpers.rpc import FakeTx, log_for
from ops.indexing import declared, open_chain
from ops.settings import load_settings

REGISTRY = b"\xa1" * 20
FACTORIES = """[
    { contract = "shop", event = "MADE", param = ["first", "second"] },
    { contract = "shop", event = "Made(address)", param = "arg0" },
    { contract = "shop", event = "Listed", param = "vaults" },
    { contract = "vault", event = "Split", param = "child" },
]""".replace("MADE", "Made(address,address,uint256)")


def event(name, *inputs):
    """An event by its inputs, each `type name`, `type indexed name` or a type alone."""
    parts = []
    for each in inputs:
        kind, *rest = each.split()
        parts.append(
            {"type": kind, "indexed": "indexed" in rest,
             "name": rest[-1] if rest and rest[-1] != "indexed" else ""}
        )  # fmt: skip
    return {"type": "event", "name": name, "inputs": parts}


ADDED = event("Added", "address")
MADE = event("Made", "address indexed first", "address second", "uint256 n")
MADE_ONE = event("Made", "address indexed")
LISTED = event("Listed", "string title", "uint256[2] sizes", "address[] vaults")
NOTED = event("Noted", "uint256 amount")
SPLIT = event("Split", "address child")
ABIS = {
    "registry": [ADDED],
    "shop": [MADE, MADE_ONE, LISTED],
    "vault": [NOTED, SPLIT],
}


def write_abis(folder, abis=ABIS):
    """Write `<name>.json` for each of them."""
    for name, abi in abis.items():
        (folder / f"{name}.json").write_text(json.dumps(abi))


def chain_text(name, url, number=31337, more="", logs="all"):
    """The section of a chain whose blocks are final 20 blocks down."""
    return (
        f'[chains.{name}]\nid = "eip155:{number}"\nrpc = ["{url}"]\nlogs = "{logs}"\n'
        f'finality = "depth"\nfinality_depth = 20\n{more}'
    )


def families(chain="", factories=FACTORIES):
    """The sections of the three contracts."""
    on = f"chain = {chain}\n" if chain else ""
    return (
        f'[contracts.registry]\nabi = "registry.json"\n{on}'
        f'address = "0x{REGISTRY.hex()}"\n'
        f'[contracts.shop]\nabi = "shop.json"\n{on}'
        'factory = { contract = "registry", event = "Added", param = "arg0" }\n'
        f'[contracts.vault]\nabi = "vault.json"\n{on}factory = {factories}\n'
    )


def settings_of(folder, content):
    """Settings from their text, checked."""
    (folder / "chainfold.toml").write_text(content)
    return load_settings(folder / "chainfold.toml", {})


def follow(engine, settings, name, *, span=7, registry=None):
    """Migrate, then follow one chain until nothing is missing; the outcomes."""
    registry = registry or declared(settings)
    migrate(engine, registry)

    async def go():
        async with open_chain(settings, name, engine, registry) as chain:
            chain.blocks_per_range = chain.range_blocks = span
            return await catch_up(chain)

    return asyncio.run(go())


def notes(engine, chain="main"):
    """(block, contract, amount) of every `Noted` of a vault on a chain."""
    query = text(
        "SELECT height, contract, amount FROM public.vault_noted WHERE chain = :chain"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"chain": chain})
        return sorted((n, bytes.fromhex(at[2:]), int(amount)) for n, at, amount in rows)


def play(fake, blocks, seed):
    """Mine blocks in which everybody announces anybody, some of them again."""
    rng = random.Random(seed)
    shops = [bytes([0xB0, n]) * 10 for n in range(3)]
    vaults = [bytes([0xC0, n]) * 10 for n in range(12)]
    for _ in range(blocks):
        logs = []
        for _ in range(rng.randrange(4)):
            one, two = rng.choice(vaults), rng.choice(vaults)
            shop = rng.choice(shops)
            logs.append(
                rng.choice(
                    [
                        named(ADDED, REGISTRY, shop),
                        named(MADE, shop, one, two, 1),
                        named(MADE_ONE, shop, one),
                        named(LISTED, shop, "t", [1, 2], [one, two]),
                        named(LISTED, shop, "none", [1, 2], []),
                        named(SPLIT, one, two),
                        *[named(NOTED, one, rng.randrange(100)) for _ in range(4)],
                    ]
                )
            )
        fake.mine(*(FakeTx([log]) for log in logs))


def named(abi, at, *values):
    """The log of an event, its values by their places."""
    inputs = [{**p, "name": f"p{n}"} for n, p in enumerate(abi["inputs"])]
    given = {f"p{n}": value for n, value in enumerate(values)}
    return log_for({**abi, "inputs": inputs}, at, **given)


def notes_of(fake):
    """What `notes` must give, from the chain's blocks and not through the indexer."""
    since = {"shop": {}, "vault": {}}
    made, one = log_for_topic(MADE), log_for_topic(MADE_ONE)
    grown = True
    while grown:
        grown = False
        for block in fake.blocks:
            for *_, log in block.logs:
                data, topic = log.data, log.topics[0]
                is_shop = since["shop"].get(log.address, 1 << 60) <= block.number
                is_vault = since["vault"].get(log.address, 1 << 60) <= block.number
                kind, found = "vault", []
                if topic == log_for_topic(ADDED) and log.address == REGISTRY:
                    kind, found = "shop", [data[12:32]]
                elif topic == made and is_shop:
                    found = [log.topics[1][12:], data[12:32]]
                elif topic == one and is_shop:
                    found = [log.topics[1][12:]]
                elif topic == log_for_topic(LISTED) and is_shop:
                    at = int.from_bytes(data[96:128])
                    size = int.from_bytes(data[at : at + 32])
                    words = [data[at + 32 * n :][:32] for n in range(1, size + 1)]
                    found = [word[12:] for word in words]
                elif topic == log_for_topic(SPLIT) and is_vault:
                    found = [data[12:32]]
                for address in found:
                    if since[kind].get(address, 1 << 60) > block.number:
                        since[kind][address] = block.number
                        grown = True
    return sorted(
        (block.number, log.address, int.from_bytes(log.data))
        for block in fake.blocks
        for *_, log in block.logs
        if log.topics[0] == log_for_topic(NOTED)
        and since["vault"].get(log.address, 1 << 60) <= block.number
    )


def log_for_topic(abi):
    """The topic 0 of an event."""
    values = {"address": b"\0" * 20, "uint256": 0, "string": "", "uint256[2]": [0, 0]}
    given = [values.get(part["type"], []) for part in abi["inputs"]]
    return named(abi, REGISTRY, *given).topics[0]


def code_that_logs(signature):
    """Code that logs an event without parameters, and goes on behind it."""
    return b"\x7f" + keccak(signature.encode()) + bytes.fromhex("60006000a1")


def deploy(anvil, runtime):
    """Create a contract with this code; its address."""
    code = bytes([0x60, len(runtime), 0x80, 0x60, 11, 0x60, 0, 0x39, 0x60, 0, 0xF3])
    data = "0x" + (code + runtime).hex()
    return send(anvil, data=data, gas="0x100000")["contractAddress"]


def send(anvil, **call):
    """Send a call in a block of its own; its receipt."""
    (sender, *_) = anvil.rpc("eth_accounts")
    sent = anvil.rpc("eth_sendTransaction", {"from": sender, **call})
    while (receipt := anvil.rpc("eth_getTransactionReceipt", sent)) is None:
        time.sleep(0.01)
    return receipt
