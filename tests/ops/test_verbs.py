"""Each verb of the command line can be the first to be imported in its process."""

import subprocess
import sys

import pytest

from ops.cli.main import Commands


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted({*Commands.modules.values()}))
def test_a_verb_is_imported_alone(module):
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
