"""The node: answers methods from its chain. It tells no lie; ``faults`` does."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from . import ledger, sending, state
from .call import Call, Options, pubkey, unsigned
from .chain import Chain
from .errors import METHOD_NOT_FOUND, RpcError, invalid
from .machine import Machine

METHODS: dict[str, Callable[[Call], Any]] = {
    **ledger.METHODS,
    **state.METHODS,
    **sending.METHODS,
}
GENESIS_TIME = 1_767_571_200
LAG_MAX = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of a chain. Without ``slot_ms`` its slots advance only when told.

    Of the slots that the clock opens, ``skip_share`` have no block.
    """

    slot_ms: int | None = 400
    skip_share: float = 0.0
    seed: int = 0
    confirmed_after: int = 1
    finalized_after: int = 32
    options: Options = field(default_factory=Options)


class Node:
    """One chain and the methods on it, also those by which a test steers it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        pace = (settings.slot_ms or 400) / 1000
        self.chain = Chain(
            Machine(),
            clock=lambda slot: int(
                time.time() if settings.slot_ms else GENESIS_TIME + slot * pace
            ),
            seed=settings.seed,
            confirmed_after=settings.confirmed_after,
            finalized_after=settings.finalized_after,
        )
        self.control: dict[str, Callable[[list[Any]], Any]] = {
            "devnet_advance": self._advance,
            "devnet_fork": self._fork,
            "devnet_setAccount": self._set_account,
            "devnet_addProgram": self._add_program,
            "devnet_state": self._state,
            "devnet_signature": lambda params: str(
                sending.decode(str(params[0]), dict(*params[1:2])).signatures[0]
            ),
        }

    def answer(self, method: str, params: list[Any], lag: int = 0) -> Any:
        """Answer a request, as a replica that is ``lag`` slots behind."""
        if method in self.control:
            return self.control[method](params)
        if method not in METHODS:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        ladder = self.chain.ladder(min(lag, LAG_MAX))
        call = Call(self.chain, ladder, self.settings.options, params)
        return METHODS[method](call)

    def add_program(self, key: Pubkey, program: bytes) -> None:
        """Put a program at an address, as the upgradeable loader would."""
        try:
            self.chain.machine.add_program(key, program)
        except Exception as error:  # whatever the loader raises, the file is wrong
            raise invalid(f"the program does not load: {error}") from None

    def _advance(self, params: list[Any]) -> Any:
        asked = _object(params)
        slots, skip = unsigned(asked.get("slots", 1)), unsigned(asked.get("skip", 0))
        return self.chain.advance(slots, skip)

    def _fork(self, params: list[Any]) -> Any:
        asked = _object(params)
        keep = asked.get("keep", [])
        if not isinstance(keep, list | float | int):
            raise invalid("`keep` is a list of signatures, or a share of 0 to 1")
        chance = random.Random(asked.get("seed", 0))  # noqa: S311 (a schedule)

        def kept(names: list[str]) -> list[str]:
            if isinstance(keep, list):
                return [name for name in keep if name in names]
            return chance.sample(names, round(len(names) * min(keep, 1)))

        return self.chain.fork(unsigned(asked.get("depth", 1)), kept)

    def _set_account(self, params: list[Any]) -> Any:
        asked = _object(params)
        account = Account(
            unsigned(asked.get("lamports")),
            base64.b64decode(asked.get("data", "")),
            pubkey(asked.get("owner", str(Pubkey.default()))),
        )
        self.chain.write(pubkey(asked.get("pubkey", "")), account)

    def _add_program(self, params: list[Any]) -> Any:
        asked = _object(params)
        self.add_program(
            pubkey(asked.get("pubkey", "")), base64.b64decode(asked.get("data", ""))
        )

    def _state(self, params: list[Any]) -> Any:
        """Return the truth: the ladder, and all signatures by slot on this fork."""
        ladder = self.chain.ladder()
        return {
            "processed": ladder.processed,
            "confirmed": ladder.confirmed,
            "finalized": ladder.finalized,
            "forks": self.chain.forks,
            "manual": not self.settings.slot_ms,
            "transactions": {
                str(slot): [record.signature for record in block.records]
                for slot, block in self.chain.blocks.items()
                if block.records
            },
        }


def _object(params: list[Any]) -> dict[str, Any]:
    found = params[0] if params else {}
    if not isinstance(found, dict):
        raise invalid("Invalid params: expected one object.")
    return found
