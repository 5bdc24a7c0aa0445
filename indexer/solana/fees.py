"""The fee of a transaction: who paid it, and how much (`meta.fee` of getTransaction).

Its number is the one below those of token movements (`indexer.solana.movements`), so it
is behind all that ran, and the same whether the transaction succeeded or failed.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from indexer.rpc.messages import Malformed
from indexer.solana.decode import ProgramDecoder
from indexer.solana.messages import RpcTransaction, key_bytes
from indexer.solana.movements import FIRST_NUMBER
from indexer.solana.walk import names_one

NUMBER = FIRST_NUMBER - 1
FEE_MAX = (1 << 64) - 1
_BODY = struct.Struct("<32sQ?")  # payer, lamports, failed


@dataclass(frozen=True, slots=True)
class FollowedPayers:
    """The keys whose fees are facts, each with its first slot."""

    decoder: ProgramDecoder  # of `db.declare.solana.fees`
    starts: Mapping[str, int]  # by key in base58

    def body(self, transaction: RpcTransaction) -> bytes | None:
        """Return the fee as its layout has it; None where nobody of them paid.

        Raises Malformed when the node does not tell the fee.
        """
        keys = transaction.transaction.message.account_keys[:1]
        if not names_one(keys, transaction.slot, self.starts):
            return None
        meta = transaction.meta
        if meta is None or meta.fee is None or not 0 <= meta.fee <= FEE_MAX:
            raise Malformed(
                f"a transaction in slot {transaction.slot} has no fee that can be: "
                "ask again"
            )
        return _BODY.pack(key_bytes(keys[0]), meta.fee, meta.err is not None)
