"""Whatever forks and when: the chain is what its transactions alone would have made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from devnet.programs.build import IDL, PACKAGE
from devnet.solana import environment

LIVES = 25


@pytest.mark.chain
def test_forks_leave_no_trace():
    script = Path(__file__).with_name("chain_life.py")
    done = subprocess.run(
        [
            environment.ensure("node"), script, environment.PACKAGE,
            PACKAGE / "ledger.so", IDL / "ledger.json", "0", str(LIVES),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    met = json.loads(done.stdout)
    assert met["forks"] > 10 * LIVES, met
    assert met["transactions"] > 30 * LIVES, met
    assert min(met["failed"], met["receipts"], met["skipped"]) > 4 * LIVES, met
