"""A recorded chain: what a node would answer for 2,000 blocks of busy crowdfunding.

Made from a seed, not by a node, so that it takes seconds; written to one file of JSON
lines: a header, then the block's logs joined by commas.
"""

import gzip
import hashlib
import json
import random
import sys
from pathlib import Path

from eth_hash.auto import keccak

from indexer.evm.bloom import bits_of

CHAIN_ID = 31337
HOLDERS = 20_000
TOKEN = "0x" + "70" * 20
FACTORY = "0x" + "fa" * 20
TRANSFERS, INVESTMENTS, CAMPAIGN_EVERY = 160, 90, 10

TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
INVESTED = "0x" + keccak(b"Invested(address,uint256,uint256)").hex()
CREATED = "0x" + keccak(b"CampaignCreated(address,address,uint256)").hex()


def record(path: Path, blocks: int, seed: int = 1, *, empty: bool = False) -> int:
    """Write a chain of this many blocks above block 0; returns how many logs it has.

    With `empty` it has none.
    """
    rng = random.Random(seed)
    holders = ["0x" + rng.randbytes(20).hex() for _ in range(HOLDERS)]
    campaigns: list[str] = []
    totals: dict[str, int] = {}
    parent = "0x" + "00" * 32
    count = 0
    with gzip.open(path, "wt", compresslevel=1) as file:
        for height in range(blocks + 1):
            block_hash = "0x" + hashlib.sha256(f"{seed}/{height}".encode()).hexdigest()
            logs = []
            if not empty:
                logs = _logs(rng, height, block_hash, holders, campaigns, totals)
            bloom = 0
            for item in {i for log in logs for i in (log["address"], *log["topics"])}:
                bloom |= bits_of(item)
            header = {
                "number": hex(height),
                "hash": block_hash,
                "parentHash": parent,
                "timestamp": hex(1_700_000_000 + 2 * height),
                "logsBloom": f"0x{bloom:0512x}",
                "miner": "0x" + "00" * 20,
                "gasLimit": "0x989680",
                "gasUsed": "0x5208",
                "extraData": "0x" + "00" * 97,
                "stateRoot": block_hash,
                "transactionsRoot": block_hash,
                "receiptsRoot": block_hash,
                "transactions": [],
            }
            parent = block_hash
            count += len(logs)
            body = ",".join(json.dumps(log, separators=(",", ":")) for log in logs)
            file.write(json.dumps(header, separators=(",", ":")) + "\n" + body + "\n")
    return count


def _logs(rng, height, block_hash, holders, campaigns, totals):
    if height == 0:
        return []
    logs = []

    def log(address, topics, data):
        transaction = len(logs) // 50
        logs.append(
            {
                "address": address,
                "topics": topics,
                "data": data,
                "blockNumber": hex(height),
                "transactionHash": "0x"
                + hashlib.sha256(f"{height}/{transaction}".encode()).hexdigest(),
                "transactionIndex": hex(transaction),
                "blockHash": block_hash,
                "logIndex": hex(len(logs)),
                "removed": False,
            }
        )

    if height % CAMPAIGN_EVERY == 1:
        campaign = "0x" + hashlib.sha256(f"c{height}".encode()).hexdigest()[:40]
        campaigns.append(campaign)
        issuer = rng.choice(holders)
        topics = [CREATED, _word(campaign), _word(issuer)]
        log(FACTORY, topics, _number(rng.randrange(10**20, 10**23)))
    for _ in range(TRANSFERS):
        sender, recipient = rng.choice(holders), rng.choice(holders)
        topics = [TRANSFER, _word(sender), _word(recipient)]
        log(TOKEN, topics, _number(rng.randrange(10**18, 10**24)))
    for _ in range(INVESTMENTS):
        campaign = rng.choice(campaigns)
        amount = rng.randrange(10**18, 10**21)
        totals[campaign] = totals.get(campaign, 0) + amount
        data = _number(amount) + _number(totals[campaign])[2:]
        log(campaign, [INVESTED, _word(rng.choice(holders))], data)
    return logs


def _word(address):
    return "0x" + "00" * 12 + address[2:]


def _number(value):
    return f"0x{value:064x}"


if __name__ == "__main__":
    print(record(Path(sys.argv[1]), int(sys.argv[2])))
