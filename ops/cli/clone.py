"""Load modules that are in a repository clone only, not in the package."""

import importlib
import sys
from pathlib import Path
from typing import Any

from ops.errors import OperationError


def from_clone(module: str) -> Any:
    """Import a module of the repository clone; raises OperationError without one."""
    root = Path(__file__).parents[2]
    top = module.split(".")[0]
    if (root / top).is_dir() and str(root) not in sys.path:
        sys.path.append(str(root))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != top:
            raise
        raise OperationError(
            f"{top} is no part of the installed package: clone the repository, run "
            "`make install` there, and use `.venv/bin/chainfold`."
        ) from None
