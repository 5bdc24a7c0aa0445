"""Base58 of bytes of any length, in the alphabet of Bitcoin."""

from __future__ import annotations

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def b58encode(data: bytes) -> str:
    """Return the text of bytes; leading zero bytes are leading ones."""
    number = int.from_bytes(data, "big")
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(ALPHABET[digit])
    zeroes = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeroes + "".join(reversed(letters))


def b58decode(text: str) -> bytes:
    """Return the bytes of a text, or raise ``ValueError``."""
    number = 0
    for place, letter in enumerate(text):
        if letter not in _VALUES:
            raise ValueError(f"`{letter}` at {place} is not in base58")
        number = number * 58 + _VALUES[letter]
    ones = len(text) - len(text.lstrip("1"))
    return bytes(ones) + number.to_bytes((number.bit_length() + 7) // 8, "big")
