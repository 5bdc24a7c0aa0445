"""A request as its method reads it: checked parameters, and the chain's slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from .base58 import b58decode
from .chain import Chain, Ladder
from .errors import INVALID_PARAMS, RpcError, invalid, min_context_slot

API_VERSION = "4.1.2"
"""The release of agave whose answers these are."""

COMMITMENTS = ("processed", "confirmed", "finalized")


@dataclass(frozen=True, slots=True)
class Options:
    """Switches of a node. ``transaction_index`` is told from agave 4.0 (PR 9683)."""

    transaction_index: bool = True
    unknown_cursor_fails: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a method. ``ladder`` says how far the asked replica is."""

    chain: Chain
    ladder: Ladder
    options: Options
    params: list[Any]

    def need(self, count: int) -> None:
        """Refuse fewer parameters."""
        if len(self.params) < count:
            raise invalid(f"`params` should have at least {count} argument(s)")

    def text(self, place: int) -> str:
        """Return a parameter that is a string."""
        self.need(place + 1)
        found: str = _typed(self.params[place], str, "a string")
        return found

    def number(self, place: int) -> int:
        """Return a parameter that is a whole number."""
        self.need(place + 1)
        return unsigned(self.params[place])

    def texts(self, place: int, most: int) -> list[str]:
        """Return a parameter that is a list of strings, of a bounded length."""
        self.need(place + 1)
        found: list[Any] = _typed(self.params[place], list, "a sequence")
        if len(found) > most:
            raise invalid(f"Too many inputs provided; max {most}")
        return [_typed(one, str, "a string") for one in found]

    def config(self, place: int) -> dict[str, Any]:
        """Return an optional parameter that is an object."""
        found = self.params[place] if len(self.params) > place else None
        return {} if found is None else _typed(found, dict, "an object")

    def slot(self, config: dict[str, Any], *, confirmed: bool = False) -> int:
        """Return the slot to read at: the commitment's, not below `minContextSlot`.

        With ``confirmed`` the method reads nothing below that commitment.
        """
        commitment = config.get("commitment") or "finalized"
        if commitment not in COMMITMENTS:
            raise invalid(
                f"Invalid params: unknown variant `{commitment}`, expected one of "
                + ", ".join(f"`{one}`" for one in COMMITMENTS)
                + "."
            )
        if confirmed and commitment == "processed":
            raise invalid("Method does not support commitment below `confirmed`")
        slot = self.ladder.of(commitment)
        wanted = config.get("minContextSlot")
        if wanted is not None and slot < unsigned(wanted):
            raise min_context_slot(slot)
        return slot

    def context(self, slot: int, value: Any) -> dict[str, Any]:
        """Return a value with the slot that it is true for."""
        return {"context": {"apiVersion": API_VERSION, "slot": slot}, "value": value}


def unsigned(value: Any) -> int:
    """Return a whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(f"Invalid params: invalid type: {_kind(value)}, expected u64.")
    if value < 0:
        raise invalid(
            f"Invalid params: invalid value: integer `{value}`, expected u64."
        )
    return value


def pubkey(text: str) -> Pubkey:
    """Return an address, or refuse the parameter."""
    return Pubkey(_bytes(text, 32))


def signature(text: str) -> Signature:
    """Return a signature, or refuse the parameter."""
    return Signature.from_bytes(_bytes(text, 64))


def blockhash(text: str) -> Hash:
    """Return a blockhash, or refuse the parameter."""
    return Hash(_bytes(text, 32))


def newest_version(config: dict[str, Any]) -> int | None:
    """Return the newest version that a client reads; None for legacy only."""
    found = config.get("maxSupportedTransactionVersion")
    return None if found is None else unsigned(found)


def _bytes(text: str, size: int) -> bytes:
    try:
        raw = b58decode(text)
    except ValueError:
        raise RpcError(INVALID_PARAMS, "Invalid param: Invalid") from None
    if len(raw) != size:
        raise RpcError(INVALID_PARAMS, "Invalid param: WrongSize")
    return raw


def _typed(value: Any, kind: type, words: str) -> Any:
    if not isinstance(value, kind):
        raise invalid(
            f"Invalid params: invalid type: {_kind(value)}, expected {words}."
        )
    return value


def _kind(value: Any) -> str:
    names = {
        bool: "boolean", int: "integer", float: "floating point", str: "string",
        list: "sequence", dict: "map", type(None): "null",
    }  # fmt: skip
    name = names[type(value)]
    return f'{name} "{value}"' if isinstance(value, str) else name
