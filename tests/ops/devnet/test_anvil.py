"""A local node: starts, keeps time, reorganises, and dies when it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.anvil import GENESIS_TIMESTAMP, Anvil, AnvilError, AnvilOptions
from devnet.rpc import Rpc, RpcError, UnreachableError

pytestmark = pytest.mark.chain

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(AnvilOptions(timestamp=GENESIS_TIMESTAMP, chain_id=100)) as anvil:
        yield anvil


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


def test_chain_is_the_one_asked_for(anvil: Anvil) -> None:
    assert int(anvil.rpc("eth_chainId"), 16) == 100
    assert len(anvil.rpc("eth_accounts")) == 20


def test_own_clock_moves_two_seconds_a_block(anvil: Anvil) -> None:
    before = anvil.height

    anvil.mine(3)

    assert anvil.height == before + 3
    assert anvil.time == GENESIS_TIMESTAMP + 2 * anvil.height


def test_snapshot_brings_back_height_and_time(anvil: Anvil) -> None:
    before = (anvil.height, anvil.time)
    snapshot = anvil.snapshot()
    anvil.set_time(anvil.time + 86_400)

    anvil.revert(snapshot)

    assert (anvil.height, anvil.time) == before
    with pytest.raises(AnvilError, match="once"):
        anvil.revert(snapshot)
    anvil.mine()
    assert anvil.time == before[1] + 2


def test_set_time_is_exact(anvil: Anvil) -> None:
    snapshot = anvil.snapshot()
    anvil.set_time(2_000_000_000)
    assert anvil.time == 2_000_000_000
    anvil.revert(snapshot)


def test_reorg_replaces_exactly_the_newest_blocks(anvil: Anvil) -> None:
    anvil.mine(6)
    height = anvil.height

    def hashes() -> list[str]:
        blocks = [
            anvil.rpc("eth_getBlockByNumber", hex(number), False)
            for number in range(height - 5, height + 1)
        ]
        return [block["hash"] for block in blocks]

    before = hashes()

    anvil.reorg(3)

    after = hashes()
    assert anvil.height == height
    assert after[:3] == before[:3]
    assert not set(after[3:]) & set(before[3:])


def test_chain_without_history_still_takes_snapshots() -> None:
    with Anvil(AnvilOptions(history=False)) as anvil:
        anvil.mine(3)
        snapshot = anvil.snapshot()
        anvil.mine(3)

        anvil.revert(snapshot)

        assert anvil.height == 3
        with pytest.raises(AnvilError, match="without history"):
            anvil.reorg(1)


def test_stopping_ends_the_process_and_the_address() -> None:
    with Anvil() as anvil:
        pid, rpc = anvil.pid, Rpc(anvil.url)
        rpc.call("eth_chainId")

    assert not alive(pid)
    assert not anvil.running
    with pytest.raises(UnreachableError, match="is it running"):
        rpc.call("eth_chainId")
    with pytest.raises(AnvilError, match="start"):
        anvil.rpc("eth_chainId")


def test_two_nodes_run_side_by_side(anvil: Anvil) -> None:
    with Anvil() as other:
        assert other.port != anvil.port


def test_port_in_use_is_named(anvil: Anvil) -> None:
    with pytest.raises(AnvilError, match=f"port {anvil.port} is in use"):
        Anvil(port=anvil.port).start()


def test_refusal_to_start_repeats_its_words() -> None:
    with pytest.raises(AnvilError, match="Unknown hardfork"):
        Anvil(AnvilOptions(hardfork="nowhere")).start()


def test_errors_of_the_node_keep_code_and_method(anvil: Anvil) -> None:
    with pytest.raises(RpcError, match="eth_nothing") as caught:
        anvil.rpc("eth_nothing")
    assert caught.value.code < 0


def test_clock_makes_blocks_by_itself() -> None:
    with Anvil(AnvilOptions(block_time=0.1)) as anvil:
        deadline = time.monotonic() + 10
        while anvil.height < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert anvil.height >= 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_node_dies_with_a_parent_that_is_killed() -> None:
    """The parent starts it in a thread that ends first, which must not matter."""
    program = (
        "import threading, time\n"
        "from devnet.anvil import Anvil\n"
        "anvil = Anvil()\n"
        "starter = threading.Thread(target=anvil.start)\n"
        "starter.start(); starter.join()\n"
        "time.sleep(0.3)\n"
        "anvil.rpc('eth_chainId')\n"
        "print(anvil.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)
