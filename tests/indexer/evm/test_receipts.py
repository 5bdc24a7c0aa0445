"""Receipts of recorded blocks give the header's root, and prove the logs."""

from __future__ import annotations

import copy

import pytest

from helpers.recorded import header_of, logs, receipts, receipts_of, recorded
from indexer.evm.messages import unhex
from indexer.evm.receipts import EMPTY_ROOT, logs_of, receipts_root, same_logs


def blocks():
    """(block, receipts) as recorded from each version."""
    found = [("v090", recorded("v090_ecdsa_block_81"), receipts())]
    for name in ("v063_ecdsa_block", "v131_bls_block"):
        whole = recorded(name)
        found.append((name[:4], whole["block"], receipts_of(whole["receipts"])))
    return [pytest.param(*each[1:], id=each[0]) for each in found]


@pytest.mark.parametrize(("block", "found"), blocks())
def test_the_root_of_a_recorded_block_is_recomputed(block, found):
    assert len(found) == len(block["transactions"]) > 0
    assert receipts_root(found) == unhex(header_of(block).receipts_root)


def test_no_receipts_give_the_empty_root():
    assert receipts_root([]) == unhex(EMPTY_ROOT)


@pytest.mark.parametrize("member", ["address", "topics", "data"])
def test_one_changed_log_gives_another_root(member):
    changed = copy.deepcopy(receipts())
    log = next(log for r in changed for log in r.logs if len(log.data) > 2)
    if member == "topics":
        log.topics[-1] = log.topics[-1][:-1] + "f"
    else:
        text = getattr(log, member)
        setattr(log, member, text[:-1] + ("0" if text[-1] != "0" else "1"))

    assert receipts_root(changed) != receipts_root(receipts())


def test_a_receipt_left_out_or_moved_gives_another_root():
    found = receipts()

    assert receipts_root(found[:-1]) != receipts_root(found)
    assert receipts_root([found[1], found[0], *found[2:]]) != receipts_root(found)


def test_recorded_logs_are_those_of_the_receipts():
    received, proved = logs(), logs_of(receipts())

    assert same_logs(received, proved)
    assert not same_logs(received[1:], proved)
    assert not same_logs([received[1], received[0], *received[2:]], proved)
    assert not same_logs([*received, received[-1]], proved)


def test_a_typed_receipt_has_its_type_in_front():
    found = receipts()
    found[0].type = "0x2"

    assert receipts_root(found) != receipts_root(receipts())
