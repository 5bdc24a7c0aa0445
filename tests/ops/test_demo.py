"""The demonstration: one at a time, ended when told, and open to visitors."""

import signal
import threading
import time

import pytest
from click.testing import CliRunner

from devnet.run import up
from examples.crowdfunding.traffic import Traffic
from examples.demo import do_business
from helpers.processes import Group, listens, live, wait_until
from ops.cli.main import main
from ops.ports import free_port

pytestmark = [pytest.mark.chain, pytest.mark.slow]


def said(group, words):
    return words in group.log.read_text()


def test_a_second_demo_in_a_folder_refuses_and_the_first_goes_on(tmp_path):
    port = free_port()
    first = Group(tmp_path, "demo", "--dir", "d", "--port", str(port))
    try:
        wait_until(lambda: live(port), 90, first)
        second = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path / "d")])
        assert second.exit_code == 2
        assert f"a demo runs in {tmp_path / 'd'} already (pid {first.process.pid})" in (
            second.output
        )
        wait_until(lambda: said(first, "the tour took"), 60, first)
        wait_until(lambda: said(first, "the sale took"), 90, first)
        first.send(signal.SIGINT)
        assert first.process.wait(40) == 0
        wait_until(lambda: not first.living(), 10, first)
        assert not listens(port)
    finally:
        first.end()
    log = first.log.read_text()
    assert "verify: 0 differences" in log
    assert (
        "9.974000 USDC: 4.488300 to the writer, 2.692980 to the illustrator, "
        "1.795320 to the translator, 0.997400 kept as the fee"
    ) in log  # what the platform before this one made of 10 dollars
    assert "the treasury holds 4,991.023400 USDC and is healthy" in log
    assert "Traceback" not in log
    assert "could not open file" not in log


def test_a_demo_that_is_stopped_during_its_tour_ends_as_stopped(tmp_path):
    port = free_port()
    group = Group(tmp_path, "demo", "--dir", "d", "--port", str(port))
    try:
        wait_until(lambda: said(group, "one campaign by the API alone"), 90, group)
        group.send(signal.SIGINT)
        assert group.process.wait(40) == 0, group.log.read_text()
        wait_until(lambda: not group.living(), 10, group)
    finally:
        group.end()
    log = group.log.read_text()
    assert "indexing live" not in log
    assert log.rstrip().endswith("verify: 0 differences")


def test_business_goes_on_when_a_visitor_deploys_a_campaign():
    anvil, deployment = up()
    stop = threading.Event()
    failed = []

    def work():
        try:
            do_business(deployment, 5, stop, seconds=0.0)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    try:
        Traffic(deployment, seed=3).play(30)
        thread.start()
        for visit in range(3):
            height = anvil.height
            wait_until(lambda above=height: anvil.height > above + 5 or failed)
            # Whatever else is on the chain: issuers, campaigns, investments.
            before = Traffic(deployment, seed=100 + visit)._before(deployment).campaigns
            visitor = Traffic(deployment, seed=200 + visit, automated=True)
            while visitor._before(deployment).campaigns == before and not failed:
                play_quietly(visitor)
        height = anvil.height
        wait_until(lambda: anvil.height > height + 20 or failed)
    finally:
        stop.set()
        if thread.is_alive():
            thread.join(20)
        anvil.stop()

    assert failed == []


def play_quietly(visitor):
    """A step beside somebody else's; theirs may be in the way of it."""
    try:
        visitor.play(1)
    except Exception:
        time.sleep(0.05)


def test_a_folder_that_cannot_be_written_is_said_in_words():
    result = CliRunner().invoke(main, ["demo", "--dir", "/sys/chainfold"])

    assert result.exit_code == 2
    assert "/sys/chainfold" in result.output
    assert "Traceback" not in result.output
