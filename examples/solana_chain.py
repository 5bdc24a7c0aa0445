"""The demonstration's Solana chain: a ledger that people write to, once a second."""

import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from solders.keypair import Keypair

from devnet.solana import ledger
from devnet.solana.client import Client
from devnet.solana.run import NodeOptions, SolanaNode
from idl.parse import DIRECTORY

NAME = "solana"
STEP_SECONDS = 1.0
AUTHORS = 3
WORDS = ("lamps", "maize", "seed drills", "solar pump", "looms", "coffee, 60 kg")

# A program that has an IDL and no code of ours, and a table folded from its events.
_SECTIONS = """
[chains.{name}]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
{more}
[programs.ledger]
idl = "idl/ledger.json"
chain = "{name}"

[tables.authors]
doc = "What each author of the ledger wrote."
index = ["total"]
author = "Key()"
total = "Sum(ledger.Recorded.amount)"
entries = "Count(ledger.Recorded)"
last_note = "Latest(ledger.Recorded.note)"
"""


@dataclass(frozen=True, slots=True)
class SolanaChain:
    """A development node with the program on it."""

    url: str

    def settings(self, folder: Path, more: str) -> str:
        """The sections that follow it; the ledger's IDL is put into the folder.

        `more` are further lines of the chain's own section.
        """
        (folder / "idl").mkdir()
        shutil.copy(DIRECTORY / "ledger.json", folder / "idl")
        genesis = str(Client(self.url).call("getGenesisHash"))
        return _SECTIONS.format(
            name=NAME, genesis=genesis[:32], url=self.url, more=more
        )

    def write(self, seed: int, stop: threading.Event) -> None:
        """Write entries by one author or another, one a second, until told to stop."""
        dice = random.Random(seed)  # noqa: S311 - a show that can be played again
        authors = [
            Client(self.url, Keypair.from_seed(dice.randbytes(32)))
            for _ in range(AUTHORS)
        ]
        for author in authors:
            author.fund()
        while not stop.is_set():
            author = dice.choice(authors)
            people = [Keypair().pubkey() for _ in range(dice.randint(1, 3))]
            amounts = tuple(dice.randint(1, 90_000_000) for _ in people)
            entry = ledger.Entry(amounts, note=dice.choice(WORDS))
            write = dice.choice((ledger.emit, ledger.emit_by_call))
            author.send(write(author.payer.pubkey(), dice.randbytes(32), entry, people))
            stop.wait(STEP_SECONDS)


@contextmanager
def solana_chain(seed: int) -> Iterator[SolanaChain]:
    """A development node for the length of the block."""
    with SolanaNode(NodeOptions(seed=seed)) as node:
        yield SolanaChain(node.url)
