"""Explain why a transaction fails, in the words of its program's IDL."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.declare.solana.call import SolanaCallSpec
from idl.base58 import to_base58
from idl.model import Idl

SHOWN = 300  # letters of what a program says
_FAILED = re.compile(r"Program (\w{32,44}) failed: (.*)")
_LOGGED = re.compile(r"Program log: (?:Error: )?(.*)")
_PROGRAMS = {
    "11111111111111111111111111111111": "the system program",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "the token program",
    "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb": "the Token-2022 program",
    "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL": "the associated token program",
}
# spl-token's TokenError, in order; Token-2022 has the same ones first.
_TOKEN = (
    "NotRentExempt", "InsufficientFunds", "InvalidMint", "MintMismatch",
    "OwnerMismatch", "FixedSupply", "AlreadyInUse", "InvalidNumberOfProvidedSigners",
    "InvalidNumberOfRequiredSigners", "UninitializedState", "NativeNotSupported",
    "NonNativeHasBalance", "InvalidInstruction", "InvalidState", "Overflow",
    "AuthorityTypeNotSupported", "MintCannotFreeze", "AccountFrozen",
    "MintDecimalsMismatch", "NonNativeNotSupported",
)  # fmt: skip
_UNPAID = ("AccountNotFound", "InsufficientFundsForFee", "InsufficientFundsForRent")


@dataclass(frozen=True, slots=True)
class Failure:
    """The name of an error, and a sentence about it.

    `unpaid`: the payer cannot pay, so nothing is known about the call.
    """

    name: str
    reason: str
    unpaid: bool = False


def explain_failure(
    call: SolanaCallSpec | None,
    program: bytes,
    error: Any,
    logs: Sequence[str],
    idls: Mapping[bytes, Idl] | None = None,
) -> Failure:
    """Explain the error that a node tells of a transaction.

    `call` is the command's, whose program is at `program`; `error` is a
    `TransactionError` as JSON, such as {"InstructionError": [2, {"Custom": 6000}]}.
    Without a call `idls` has the words of programs, by their addresses.
    """
    if _top(error) in _UNPAID:
        reason = f"the payer has no lamports for it: {_top(error)}"
        return Failure(_top(error), reason, unpaid=True)
    failed, words = _failing(logs)
    code = custom_code(error)
    if code is None:
        name = _inner(error)
        return Failure(name, name + (f": {words}" if words else ""))
    of = failed or to_base58(program)
    known = {to_base58(key): idl for key, idl in (idls or {}).items()}
    if call is not None:
        known[to_base58(program)] = call.idl
    if of in known and code in known[of].errors:
        declared_error = known[of].errors[code]
        message = f": {declared_error.message}" if declared_error.message else ""
        return Failure(declared_error.name, f"{declared_error.name}{message}"[:SHOWN])
    if of[:5] == "Token" and of in _PROGRAMS and 0 <= code < len(_TOKEN):
        return Failure(_TOKEN[code], f"{_PROGRAMS[of]} says {_TOKEN[code]}")
    who = _PROGRAMS.get(of, f"the program {of}")
    logged = f": {words}" if words else ""
    return Failure(f"Custom({code})", f"{who} fails with code {code}{logged}"[:SHOWN])


def custom_code(error: Any) -> int | None:
    """Return the program's own code in an error; None: it is of another sort."""
    try:
        code = error["InstructionError"][1]["Custom"]
    except (TypeError, LookupError):
        return None
    return code if isinstance(code, int) else None


def _top(error: Any) -> str:
    if isinstance(error, Mapping) and error:
        return str(next(iter(error)))
    return str(error)


def _inner(error: Any) -> str:
    """The name of an error that is no program's own."""
    if isinstance(error, Mapping) and "InstructionError" in error:
        try:
            return _top(error["InstructionError"][1])[:SHOWN]
        except (TypeError, LookupError):
            return "InstructionError"
    return _top(error)[:SHOWN]


def _failing(logs: Sequence[str]) -> tuple[str, str]:
    """The innermost program that failed, and the last words before it."""
    words = ""
    for line in logs:
        if match := _FAILED.fullmatch(line):
            return match[1], words
        if match := _LOGGED.fullmatch(line):
            words = match[1][:SHOWN]
    return "", words
