"""The text of a command's transaction and addresses, wherever people see them.

On EVM chains and in the journal a transaction is known by a hash of 32 bytes, and an
address has 20: both are hex. On Solana a signature has 64 bytes and an address 32: both
are base58.
"""

from db.declare.fields import Encoding

SIGNATURE_BYTES, KEY_BYTES = 64, 32


def transaction_text(value: bytes) -> str:
    """Return a hash as `0x…`, a signature as base58."""
    is_signature = len(value) == SIGNATURE_BYTES
    return (Encoding.BASE58 if is_signature else Encoding.HEX).text(value)


def address_text(value: bytes) -> str:
    """Return an EVM address as `0x…`, a key of Solana as base58."""
    is_key = len(value) == KEY_BYTES
    return (Encoding.BASE58 if is_key else Encoding.HEX).text(value)
