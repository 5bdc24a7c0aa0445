"""Fees: what transactions cost who paid for them, those that failed too.

    class Spent(Projection):
        "What a payer has spent on fees."

        payer = Key()
        lamports = Sum(FeePaid.lamports)

The payer is the first account of a transaction and its first signer. The fee is that of
all signatures and of priority, in lamports; it is taken whether the transaction
succeeds or fails. Lamports that the transaction itself moves, for rent or to others,
are no fee.

The emitter is `Fees()`. `[chains.<name>.payers]` says whose fees are facts. All of a
payer's own transactions name it, so the sum is what it ever paid if it is followed from
its first slot on.
"""

from db.declare.events import Event
from db.declare.fields import Bool, Pubkey, Uint
from db.declare.solana.program import Program
from idl import Idl
from idl.model import EventLayout
from idl.types import PUBKEY, FieldLayout, Primitive

FEES = "fees"  # the emitter's name

# As `indexer.solana.fees` writes it: nothing in front of the fields.
_LAYOUT = EventLayout(
    "FeePaid",
    b"",
    (
        FieldLayout("payer", PUBKEY),
        FieldLayout("lamports", Primitive("u64")),
        FieldLayout("failed", Primitive("bool")),
    ),
)
_IDL = Idl(FEES, None, events=(_LAYOUT,))


class Fees(Program):
    """The cluster itself, as far as it takes fees; its one event is `FeePaid`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(FEES, _IDL)


class FeePaid(Event):
    """A transaction cost its payer a fee; `failed`: it did nothing else."""

    source = Fees()
    payer = Pubkey()
    lamports = Uint(64)
    failed = Bool()
