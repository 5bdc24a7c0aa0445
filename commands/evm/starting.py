"""Start a signer: choose its first nonce from nodes, memory and index.

No answer of a node moves a nonce far. What is far beyond what the index has seen is
doubted: another node may know better; else the signer halts until a person has looked.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Engine

from commands.evm.node import Node
from commands.evm.signers import Signer
from db.commands.evm.reconcile import alarm, nonces_known
from db.commands.evm.slots import register_signer
from db.commands.signers import SignerRow
from db.commands.states import FAR_NONCES

log = logging.getLogger(__name__)


class Counting(Node, Protocol):
    """Nodes that return each one's transaction count."""

    def counts(self, address: bytes) -> dict[str, int]:
        """Each node's count of an account's transactions, by the node's name."""
        ...


@dataclass(frozen=True, slots=True)
class Weighed:
    """The nonces to begin with, and the doubt that needs an operator, if any."""

    used: int
    floor: int
    doubt: str = ""


def begin(
    engine: Engine, signer: Signer, node: Counting, *, source: int, max_in_flight: int
) -> SignerRow:
    """Make a signer known, or close its gate again at a start; may halt it.

    What its memory or a node knows of it, and the database does not, was done before a
    backup was restored: those nonces are filled before new ones are used.
    """
    head, used = node.head(), node.nonce(signer.address)
    counts, memory = node.counts(signer.address), signer.floor()
    with engine.begin() as connection:
        known = nonces_known(connection, signer.name, source, signer.address)
        found = weigh(signer, used, counts, memory, known)
        row = register_signer(
            connection, name=signer.name, source_id=source, address=signer.address,
            next_nonce=found.used, gate_height=head, max_in_flight=max_in_flight,
            floor=found.floor,
        )  # fmt: skip
        if found.doubt and not row.paused:
            alarm(connection, signer.name, found.doubt)
    return row


def weigh(
    signer: Signer,
    used: int,
    counts: dict[str, int],
    memory: int,
    known: int | None,
) -> Weighed:
    """Decide which counts of an account's nonces to believe.

    `known` is how many the index and the database know of; None: the account is new to
    them, and the least that a node says is believed.
    """
    least = min(counts.values()) if known is None else known
    near = least + FAR_NONCES
    far = {name: count for name, count in counts.items() if count > near}
    near_counts = [count for count in counts.values() if count <= near]
    doubt = ""
    if far and not near_counts:
        listed = ", ".join(f"{name}: {count}" for name, count in far.items())
        doubt = (
            f"the node counts far more transactions of 0x{signer.address.hex()} "
            f"({listed}) than the {least} that are known here"
        )
    elif memory > near:
        doubt = (
            f"nonce {memory - 1} of 0x{signer.address.hex()} was signed, and {least} "
            "are known to be used"
        )
    for name, count in far.items():
        log.warning(
            "nonce_not_trusted signer=%s node=%s count=%s", signer.name, name, count
        )
    floor = max([least, *near_counts, *([memory] if memory <= near else [])])
    if doubt:
        doubt += (
            ": the next nonce is not changed. Check the endpoints, and who uses "
            f"the key; then run `chainfold sign resume {signer.name}` to continue "
            "with the nonce that the index shows"
        )
    return Weighed(used if used <= near else least, floor, doubt)
