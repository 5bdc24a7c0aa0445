"""A Solana cluster in this process, as plain data, and nodes that answer about it.

A chain of blocks that may be replaced above the final slot; nodes answer JSON-RPC bytes
about it, late, in part, or not at all. `helpers.follower_of_clusters` plays schedules.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace

from helpers.solana_calls import Call, Log, emit, key, response, signature
from idl.base58 import to_base58

FINALITY = 5  # slots until one is final
LACKING_SHARE = 0.3  # of the transactions, where nodes lack some
MARK = b"markmark"  # in front of an event
PROGRAM = key("the program")
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"


@dataclass
class Tx:
    """A transaction: the amounts that it says, and what its token accounts hold.

    `moves` are accounts with owner, amount before and after; `names` other keys.
    """

    name: str
    amounts: list[int] = field(default_factory=list)
    moves: list[tuple[str, str, int | None, int | None]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    fails: bool = False
    by_call: bool = False
    listed: frozenset[str] = frozenset()  # the addresses that list it
    _told: dict = field(default_factory=dict)

    def __post_init__(self):
        self.signature = signature(self.name)

    def answer(self, slot, index, *, tells_index):
        """What getTransaction says, for a place in the chain."""
        place = slot, index, tells_index
        if place not in self._told:
            self._told[place] = self._answer(*place)
        return self._told[place]

    def _answer(self, slot, index, tells_index):
        calls = []
        for amount in self.amounts:
            body = MARK + amount.to_bytes(8, "little")
            inner = emit(PROGRAM, body) if self.by_call else Log(body)
            calls.append(Call(PROGRAM, b"\1", does=[inner]))
        accounts = [account for account, *_ in self.moves] + self.names
        if accounts or not calls:
            calls.append(Call(key("another program"), b"\2", accounts))
        error = {"InstructionError": [0, {"Custom": 6000}]} if self.fails else None
        made = response(calls, slot=slot, index=index, name=self.name, error=error)
        keys = made["transaction"]["message"]["accountKeys"]
        sides = {"preTokenBalances": [], "postTokenBalances": []}
        for account, owner, before, after in self.moves:
            for side, held in zip(sides, (before, after), strict=True):
                if held is not None:
                    sides[side].append({
                        "accountIndex": keys.index(account), "mint": key("mint"),
                        "owner": owner, "programId": TOKEN,
                        "uiTokenAmount": {"amount": str(held), "decimals": 0},
                    })  # fmt: skip
        made["meta"].update(sides)
        if not tells_index:
            del made["transactionIndex"]
        return made

    def keys(self):
        """All addresses that list it."""
        message = self.answer(1, 0, tells_index=True)["transaction"]["message"]
        return message["accountKeys"]


@dataclass
class Block:
    """A block in a slot."""

    slot: int
    salt: int
    parent: str
    txs: list[Tx]

    @property
    def hash(self):
        return to_base58(
            sha256(f"{self.slot} {self.salt} {self.parent}".encode()).digest()
        )


class Cluster:
    """The blocks by slot; some slots have none."""

    def __init__(self, seed):
        self.seed, self.salt = seed, seed
        self.genesis = to_base58(sha256(f"genesis {seed}".encode()).digest())
        self.blocks = {0: Block(0, 0, self.genesis, [])}
        self.tip = self.top = 0  # the highest slot, and the highest that ever was

    @property
    def final(self):
        return max(self.top - FINALITY, 0)

    def last(self, slot):
        """The highest slot up to one that has a block."""
        return max(at for at in self.blocks if at <= slot)

    def add(self, txs, skip=0):
        """The next block, after some slots without one."""
        slot = self.tip + 1 + skip
        parent = self.blocks[self.last(self.tip)].hash
        self.blocks[slot] = Block(slot, self.salt, parent, list(txs))
        for tx in txs:
            tx.listed = frozenset(tx.keys())
        self.tip = slot
        self.top = max(self.top, slot)

    def fork(self, lowest):
        """Undo all blocks from a slot on; returns their transactions."""
        gone = [at for at in self.blocks if at >= lowest]
        txs = [tx for at in sorted(gone) for tx in self.blocks.pop(at).txs]
        self.tip = lowest - 1
        self.salt += 1
        return txs

    def rows(self, upto):
        """Every transaction with its place, up to a slot."""
        for slot in sorted(self.blocks):
            if slot <= upto:
                for index, tx in enumerate(self.blocks[slot].txs):
                    yield slot, index, tx


class Node:
    """One endpoint: `behind` by some slots, and with faults while it has a share."""

    def __init__(self, cluster, rng, kinds, share, *, tells_index):
        self.cluster, self.rng, self.kinds, self.share = cluster, rng, kinds, share
        self.tells_index = tells_index
        self.behind, self.down, self.hidden = 0, False, set()
        self.lacking = set()  # signatures that it lists, and has no transaction of
        self.faulted = set()

    def _meets(self, kind):
        if kind in self.kinds and self.rng.random() < self.share:
            self.faulted.add(kind)
            return True
        return False

    @property
    def confirmed(self):
        return max(self.cluster.last(self.cluster.tip) - self.behind, 0)

    @property
    def final(self):
        return min(max(self.cluster.final - self.behind, 0), self.confirmed)

    def answer(self, data):
        """The bytes of an answer, or the trouble instead of one."""
        if self.down or self._meets("drop"):
            return SimpleNamespace(trouble="drop")
        if self._meets("hang"):
            return SimpleNamespace(trouble="hang")
        if self._meets("limit"):
            return _body({}, 429)
        asked = json.loads(data)
        many = asked if isinstance(asked, list) else [asked]
        told = [self._one(each) for each in many]
        body = _body(told if isinstance(asked, list) else told[0])
        if self._meets("cut"):
            body.body = body.body[: len(body.body) // 2]
        return body

    def _one(self, call):
        reply = {"jsonrpc": "2.0", "id": call["id"]}
        if self._meets("behind"):
            return reply | {"error": {"code": -32005, "message": "Node is behind"}}
        found = getattr(self, "_" + call["method"])(*call.get("params") or ())
        return reply | {"result": found}

    def _getGenesisHash(self):
        return self.cluster.genesis

    def _getFirstAvailableBlock(self):
        return 0

    def _getSlot(self, config):
        slot = self.final if config["commitment"] == "finalized" else self.confirmed
        return (
            max(slot - self.rng.randint(1, 4), 0) if self._meets("goes back") else slot
        )

    def _getBlocks(self, first, last, config):
        return [
            at
            for at in sorted(self.cluster.blocks)
            if first <= at <= min(last, self.confirmed)
        ]

    def _getBlock(self, slot, config):
        block = self.cluster.blocks.get(slot)
        if block is None or slot > self.confirmed or self._meets("null"):
            return None
        told = {"blockhash": block.hash, "previousBlockhash": block.parent,
                "parentSlot": self.cluster.last(slot - 1) if slot else 0,
                "blockTime": 1_700_000_000}  # fmt: skip
        if config["transactionDetails"] == "signatures":
            told["signatures"] = [tx.signature for tx in block.txs]
        return told

    def _getSignaturesForAddress(self, address, config):
        if self._meets("empty"):
            return []
        rows = [
            {"signature": tx.signature, "slot": slot, "err": None,
             "confirmationStatus": "finalized" if slot <= self.final else "confirmed"}
            for slot, _, tx in self.cluster.rows(self.confirmed)
            if address in tx.listed
        ][::-1]  # fmt: skip
        if self._meets("hide") and rows:
            self.hidden.add(self.rng.choice(rows)["signature"])
        if "hide" in self.kinds:
            rows = [row for row in rows if row["signature"] not in self.hidden]
        if self._meets("shuffle"):
            order = self.rng.random()
            rows.sort(key=lambda r: (-r["slot"], hash((order, r["signature"]))))
        before = config.get("before")
        if before is not None:
            places = [at for at, row in enumerate(rows) if row["signature"] == before]
            rows = rows[places[0] + 1 :] if places else []
        return rows[: config["limit"]]

    def _getTransaction(self, text, config):
        if "null" in self.kinds and self.rng.random() < LACKING_SHARE:
            self.lacking.add(text)
        if text in self.lacking:
            return None
        for slot, index, tx in self.cluster.rows(self.confirmed):
            if tx.signature == text:
                return tx.answer(slot, index, tells_index=self.tells_index)
        return None

    def _getSignatureStatuses(self, texts, config):
        places = {
            tx.signature: slot for slot, _, tx in self.cluster.rows(self.confirmed)
        }
        return {"value": [
            None if text not in places else {
                "slot": places[text], "err": None,
                "confirmationStatus": self._status(places[text]),
            } for text in texts
        ]}  # fmt: skip

    def _status(self, slot):
        return "finalized" if slot <= self.final else "confirmed"

    def _getTokenAccountsByOwner(self, owner, chosen, config):
        held = {}
        for _, _, tx in self.cluster.rows(self.final):
            if not tx.fails:
                held |= {account: (who, after) for account, who, _, after in tx.moves}
        found = [account for account, (who, after) in held.items()
                 if who == owner and after is not None]  # fmt: skip
        if chosen["programId"] != TOKEN:
            found = []
        return {
            "context": {"slot": self.final},
            "value": [{"pubkey": k} for k in found],
        }


def _body(content, status=200):
    body = json.dumps(content).encode()
    return SimpleNamespace(trouble=None, status=status, headers={}, body=body)
