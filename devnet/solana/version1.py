"""Transactions of version 1, in bytes: the product's own library knows none.

Source: SIMD-0385. The message: version, header, mask of the configuration, blockhash,
counts, addresses, configuration, instruction headers, instruction bodies; signatures
follow it. There are no lookup tables.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.signature import Signature

VERSION_1 = 0x81
PRIORITY_FEE, UNIT_LIMIT = 0b11, 0b100


def sign(
    instructions: Sequence[Instruction], signers: Sequence[Keypair], blockhash: Hash,
    *, unit_limit: int = 200_000, priority_fee: int = 0,
) -> bytes:  # fmt: skip
    """Return a signed transaction; the first signer pays, the fee is in lamports."""
    message = Message.new_with_blockhash(instructions, signers[0].pubkey(), blockhash)
    header = message.header
    bodies = [(bytes(one.accounts), bytes(one.data)) for one in message.instructions]
    body = b"".join(
        [
            struct.pack(
                "<BBBBI",
                VERSION_1,
                header.num_required_signatures,
                header.num_readonly_signed_accounts,
                header.num_readonly_unsigned_accounts,
                PRIORITY_FEE | UNIT_LIMIT,
            ),
            bytes(blockhash),
            struct.pack("<BB", len(bodies), len(message.account_keys)),
            *(bytes(key) for key in message.account_keys),
            struct.pack("<QI", priority_fee, unit_limit),
            *(
                struct.pack("<BBH", one.program_id_index, len(accounts), len(data))
                for one, (accounts, data) in zip(
                    message.instructions, bodies, strict=True
                )
            ),
            *(accounts + data for accounts, data in bodies),
        ]
    )
    keys = {signer.pubkey(): signer for signer in signers}
    required = message.account_keys[: header.num_required_signatures]
    return body + b"".join(bytes(keys[key].sign_message(body)) for key in required)


def signature(transaction: bytes) -> str:
    """Return the first signature of a signed transaction of version 1."""
    count = transaction[1]
    start = len(transaction) - 64 * count
    return str(Signature.from_bytes(transaction[start : start + 64]))
