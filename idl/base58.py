"""Base58 in Bitcoin's alphabet, as Solana writes keys, hashes and signatures.

Keys stay raw bytes inside; text is made at the edge. Both ways take time that grows
with the square of the length, so what is read has a known size.
"""

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


def to_base58(raw: bytes) -> str:
    """Return the text of some bytes; each leading zero byte is a `1`."""
    rest = int.from_bytes(raw)
    pairs = []
    while rest:
        rest, pair = divmod(rest, 3364)
        pairs.append(_PAIRS[pair])
    digits = "".join(reversed(pairs)).lstrip("1")
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + digits


def from_base58(text: str, size: int) -> bytes:
    """Return the `size` bytes that a text stands for.

    Raises ValueError when it is not base58 of just so many bytes.
    """
    if len(text) > 2 * size:
        raise ValueError(f"it is not base58 of {size} bytes: it is too long")
    number = 0
    for letter in text:
        value = _VALUES.get(letter)
        if value is None:
            raise ValueError(f"{letter!r} is not a letter of base58")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    length = (number.bit_length() + 7) // 8
    if zeros + length != size:
        raise ValueError(f"it is base58 of {zeros + length} bytes, not of {size}")
    return number.to_bytes(size)
