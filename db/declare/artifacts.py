"""ABIs that declarations name, sought in the folder of the declaring file first."""

from typing import Any

import abis
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
