"""An instruction as a transaction of version 0: its limits, its price and its size.

What we put before a command's instruction is the compute budget alone (solana.com/docs,
"Fees"): the limit of compute units, and the price of one in micro-lamports.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0, to_bytes_versioned
from solders.null_signer import NullSigner
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from commands.arguments import BadArguments

BYTES_MAX = 1_232  # of a transaction, signatures included
UNITS_MAX = 1_400_000  # that a transaction may use
LAMPORTS_PER_SIGNATURE = 5_000
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """The compute units of a transaction, and the price of one in micro-lamports."""

    units: int = UNITS_MAX
    price: int = 0

    def fee(self, signatures: int) -> int:
        """Return the most that it costs, in lamports: signatures, and priority."""
        priority = -(-self.units * self.price // MICRO)
        return LAMPORTS_PER_SIGNATURE * signatures + priority


def compile_message(
    instruction: Instruction,
    payer: bytes,
    blockhash: bytes,
    budget: Budget,
    *,
    more: Sequence[Instruction] = (),
) -> MessageV0:
    """Return the message that is signed; `more` stands behind the instruction.

    Raises BadArguments when the transaction would be larger than nodes take.
    """
    instructions = [
        set_compute_unit_limit(budget.units),
        set_compute_unit_price(budget.price),
        instruction,
        *more,
    ]
    try:
        message = MessageV0.try_compile(
            Pubkey.from_bytes(payer), instructions, [], Hash.from_bytes(blockhash)
        )
    except Exception as error:  # of the library's own kinds, and ValueError
        raise BadArguments([f"it fits into no transaction: {error}"]) from None
    size = 1 + 64 * signatures_of(message) + len(to_bytes_versioned(message))
    if size > BYTES_MAX:
        problem = (
            f"its transaction would have {size} bytes, and {BYTES_MAX} are the most: "
            "give it fewer accounts or shorter arguments"
        )
        raise BadArguments([problem])
    return message


def with_margin(units: int, percent: int) -> int:
    """Return the compute limit: what a simulation used, and a margin."""
    return min(UNITS_MAX, max(1_000, units * (100 + percent) // 100))


def signatures_of(message: MessageV0) -> int:
    """Return the number of signatures that a message needs."""
    return message.header.num_required_signatures


def unsigned(message: MessageV0) -> bytes:
    """Return a transaction with empty signatures, for a simulation."""
    count = signatures_of(message)
    signers = [NullSigner(key) for key in message.account_keys[:count]]
    return bytes(VersionedTransaction(message, signers))


def writable_of(instruction: Instruction, payer: bytes) -> list[bytes]:
    """Return the accounts that a transaction may change, the payer first."""
    keys = [payer, *(bytes(m.pubkey) for m in instruction.accounts if m.is_writable)]
    return list(dict.fromkeys(keys))
