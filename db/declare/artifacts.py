"""ABIs and IDLs that declarations name, sought beside the declaring file first."""

from typing import Any

import abis
import idl
from db.declare.errors import DeclarationError, declaring_file


def load_abi(contract: str) -> list[dict[str, Any]]:
    """The ABI of a contract; raises DeclarationError for none that can be read."""
    file = declaring_file()
    try:
        return abis.load_abi(contract, None if file is None else file.parent)
    except abis.UnknownContract as error:
        remedy = f"correct the name, or put {contract}.json beside this file"
        raise DeclarationError(contract, str(error), remedy) from None
    except abis.BadArtifact as error:
        raise DeclarationError(
            contract, str(error), "take the ABI from the compiler's output"
        ) from None


def load_idl(program: str) -> idl.Idl:
    """The IDL of a program; raises DeclarationError for none that can be read."""
    file = declaring_file()
    try:
        return idl.load_idl(program, None if file is None else file.parent)
    except idl.IdlError as error:
        remedy = f"correct the name, or put {program}.json beside this file"
        raise DeclarationError(program, str(error), remedy) from None
