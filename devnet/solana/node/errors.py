"""Errors of the RPC, in agave's codes and words (rpc-client-api/custom_error)."""

from __future__ import annotations

from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
BLOCK_CLEANED_UP = -32001
PREFLIGHT_FAILURE = -32002
SIGNATURE_FAILURE = -32003
BLOCK_NOT_AVAILABLE = -32004
SLOT_SKIPPED = -32007
LONG_TERM_SLOT_SKIPPED = -32009
UNSUPPORTED_VERSION = -32015
MIN_CONTEXT_SLOT = -32016
FILTER_NOT_FOUND = -32020


class RpcError(Exception):
    """An error object of JSON-RPC."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def encode(self) -> dict[str, Any]:
        """Return the object; ``data`` is there only when it says something."""
        told = {"code": self.code, "message": self.message}
        return told if self.data is None else {**told, "data": self.data}


def invalid(message: str) -> RpcError:
    """Say that a parameter is wrong."""
    return RpcError(INVALID_PARAMS, message)


def block_not_available(slot: int) -> RpcError:
    """Say that a slot is not there yet."""
    return RpcError(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")


def slot_skipped(slot: int) -> RpcError:
    """Say that a slot has no block."""
    return RpcError(
        SLOT_SKIPPED,
        f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot",
    )


def unsupported_version(version: int) -> RpcError:
    """Say that the client must ask for a newer version of transactions."""
    return RpcError(
        UNSUPPORTED_VERSION,
        f"Transaction version ({version}) is not supported by the requesting client. "
        "Please try the request again with the following configuration parameter: "
        f'"maxSupportedTransactionVersion": {version}',
    )


def min_context_slot(slot: int) -> RpcError:
    """Say that this node is behind what the client has seen."""
    return RpcError(
        MIN_CONTEXT_SLOT,
        "Minimum context slot has not been reached",
        {"contextSlot": slot},
    )


def filter_not_found(signature: str) -> RpcError:
    """Say that `before` or `until` is unknown (agave from September 2025, PR 7937)."""
    return RpcError(FILTER_NOT_FOUND, f"Transaction {signature} not found")


_INSTRUCTION_WORDS = {
    "GenericError": "generic instruction error",
    "InvalidArgument": "invalid program argument",
    "InvalidInstructionData": "invalid instruction data",
    "InvalidAccountData": "invalid account data for instruction",
    "AccountDataTooSmall": "account data too small for instruction",
    "InsufficientFunds": "insufficient funds for instruction",
    "IncorrectProgramId": "incorrect program id for instruction",
    "MissingRequiredSignature": "missing required signature for instruction",
    "AccountAlreadyInitialized": (
        "instruction requires an uninitialized account"
    ),
    "UninitializedAccount": "instruction requires an initialized account",
    "NotEnoughAccountKeys": "insufficient account keys for instruction",
    "MissingAccount": "An account required by the instruction is missing",
    "ProgramFailedToComplete": "Program failed to complete",
    "ComputationalBudgetExceeded": "Computational budget exceeded",
    "PrivilegeEscalation": (
        "Cross-program invocation with unauthorized signer or writable account"
    ),
    "ReentrancyNotAllowed": (
        "Cross-program invocation reentrancy not allowed for this instruction"
    ),
    "UnsupportedProgramId": "Unsupported program id",
    "InvalidAccountOwner": "Invalid account owner",
}  # fmt: skip
_TRANSACTION_WORDS = {
    "AccountNotFound": (
        "Attempt to debit an account but found no record of a prior credit."
    ),
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "InvalidAccountForFee": "This account may not be used to pay transaction fees",
    "ProgramAccountNotFound": "Attempt to load a program that does not exist",
    "InvalidProgramForExecution": (
        "This program may not be used for executing instructions"
    ),
    "SignatureFailure": "Transaction did not pass signature verification",
    "SanitizeFailure": "Transaction failed to sanitize accounts offsets correctly",
    "AddressLookupTableNotFound": (
        "Transaction loads an address table account that doesn't exist"
    ),
}


def describe(error: Any) -> str:
    """Return an error of a transaction in the runtime's words, as far as known."""
    if isinstance(error, dict) and "InstructionError" in error:
        index, inner = error["InstructionError"]
        if isinstance(inner, dict) and "Custom" in inner:
            words = f"custom program error: 0x{inner['Custom']:x}"
        else:
            words = _INSTRUCTION_WORDS.get(str(inner), str(inner))
        return f"Error processing Instruction {index}: {words}"
    if isinstance(error, dict) and "InsufficientFundsForRent" in error:
        index = error["InsufficientFundsForRent"]["account_index"]
        return (
            f"Transaction results in an account ({index}) with insufficient funds for "
            "rent"
        )
    return _TRANSACTION_WORDS.get(str(error), str(error))


def unsigned_or(value: Any, default: int) -> int:
    """Return a whole number that is not negative, or the default for None."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise invalid(f"Invalid params: {value!r} is no whole number.")
    return value
