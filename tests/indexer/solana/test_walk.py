"""Who did what: held against a walk over the tree of calls, and against anchorpy."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from anchorpy import EventParser
from anchorpy.coder.coder import Coder
from anchorpy_core.idl import Idl as AnchorIdl
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from helpers.idls import LEGACY
from helpers.solana_calls import (
    Call,
    Log,
    Say,
    authority,
    emit,
    key,
    response,
    truth,
)
from indexer.rpc.messages import Malformed
from indexer.solana.messages import RpcTransaction
from indexer.solana.walk import event_authority, walk

OURS, OTHER, PRECOMPILE = key("ours"), key("other"), key("ed25519")
UNCUT = 10**6  # bytes of logs: more than any of these trees writes
PLAIN = hashlib.sha256(b"event:Plain").digest()[:8]


def walked(calls, **how):
    return walked_raw(response(calls, **how))


def walked_raw(raw):
    [found] = walk([msgspec.convert(raw, RpcTransaction)], {OURS})
    return found


def seen(found):
    """What was attributed, in the words of the truth."""
    kinds = {True: "line", False: "given"}
    return sorted(
        [(call.number, "call", call.data) for call in found.calls]
        + [(e.number, kinds[e.logged], e.body) for e in found.emitted]
        + [(s.number, "forged", s.body) for s in found.strange]
    )


BODIES = st.sampled_from([b"one", b"two", b"\0" * 20, b"event number three"])
LINES = st.sampled_from([
    Say(f"Program {OURS} invoke [1]"), Say(f"Program {OURS} success"),
    Say("Program data: b25l"), Say("x" * 90), Say("Log truncated"), Say(""),
])  # fmt: skip


def trees(depth):
    program = st.sampled_from([OURS, OTHER])
    parts = [BODIES.map(Log), LINES]
    if depth < 4:
        parts += [
            trees(depth + 1),
            st.builds(emit, program, BODIES),
            st.builds(
                lambda body: Call(OURS, emit(OURS, body).data, [key("x")]), BODIES
            ),
        ]
    return st.builds(
        Call,
        program,
        st.binary(min_size=1, max_size=12),
        st.just([]),
        st.lists(st.one_of(parts), max_size=4),
    )


CALLS = st.lists(
    trees(1) | st.just(Call(PRECOMPILE, silent=True)), min_size=1, max_size=4
)


@settings(max_examples=400, deadline=None)
@given(CALLS, st.sampled_from([0, 1, "legacy"]), st.sampled_from([0, 2]))
def test_every_call_and_event_is_given_to_the_program_whose_it_is(
    calls, version, loaded
):
    found = walked(calls, version=version, loaded=loaded, limit=UNCUT)

    assert seen(found) == truth(calls, OURS)
    assert not found.truncated


@settings(max_examples=300, deadline=None)
@given(CALLS)
def test_depths_that_nobody_tells_are_read_from_the_logs(calls):
    assert seen(walked(calls, heights=False, limit=UNCUT)) == truth(calls, OURS)


@settings(max_examples=400, deadline=None)
@given(CALLS, st.integers(60, 900))
def test_nothing_is_believed_behind_the_mark_of_cut_logs(calls, limit):
    found = walked(calls, limit=limit)
    true = truth(calls, OURS)
    # What is in instructions is all there; of lines, only true ones.
    lines = [body for _, kind, body in truth_of_lines(calls)]

    assert [body for _, kind, body in seen(found) if kind == "call"] == [
        body for _, kind, body in true if kind == "call"
    ]
    assert [b for _, k, b in seen(found) if k == "given"] == [
        b for _, k, b in true if k == "given"
    ]
    for _, kind, body in seen(found):
        if kind == "line":
            assert body in lines
            lines.remove(body)


def truth_of_lines(calls):
    """The lines of our program, those that are given too not left out."""
    found = []

    def visit(call):
        for each in call.does:
            if isinstance(each, Call):
                visit(each)
            elif isinstance(each, Log) and call.program == OURS:
                found.append((0, "line", each.body))

    for call in calls:
        visit(call)
    return found


def test_two_equal_settlements_are_two_at_every_depth():
    settle = [Log(b"settled"), emit(OURS, b"settled")]
    top = Call(OURS, b"\1", [], settle)
    at_two = Call(OTHER, b"\2", [], [Call(OURS, b"\1", [], settle)] * 2)
    at_three = Call(
        OTHER, b"\2", [], [Call(OTHER, b"\3", [], [Call(OURS, b"\1", [], settle)])] * 2
    )

    for heights in (True, False):
        found = walked([top, top, at_two, at_three], heights=heights)

        assert [each.body for each in found.emitted] == [b"settled"] * 6
        numbers = [each.number for each in found.emitted]
        assert numbers == sorted(set(numbers))
        assert not found.strange


def test_an_event_needs_its_program_as_the_caller():
    forged = Call(OURS, emit(OURS, b"paid").data, [authority(OURS)])

    for calls in ([forged], [Call(OTHER, b"\2", [], [forged])]):
        found = walked(calls)
        assert not found.emitted
        assert [each.body for each in found.strange] == [b"paid"]


def test_without_depths_and_logs_the_authority_must_be_named():
    spam = Say("x" * 9_990)
    true = Call(OURS, b"\1", [], [emit(OURS, b"paid")])
    forged = Call(OTHER, b"\2", [], [Call(OURS, emit(OURS, b"got").data, [key("a")])])

    found = walked([Call(OTHER, b"\3", [], [spam, Say("y" * 200)]), true, forged],
                   heights=False)  # fmt: skip

    assert found.truncated
    assert [each.body for each in found.emitted] == [b"paid"]
    assert [each.body for each in found.strange] == [b"got"]
    assert event_authority(OURS) == authority(OURS)


def forging(body):
    """A composer's own program, of whom a short line should pass for one of ours.

    The log is filled so that our `success` does not fit and the short line does.
    """
    long_line = "Program " + OURS + " consumed 1 of 200000 compute units"
    end = f"Program {OURS} success"
    ours = Call(OURS, b"\1", [], [])
    used = len(f"Program {OTHER} invoke [1]") + len("Program log: ")
    used += len(f"Program {OURS} invoke [2]") + len(long_line)
    fill = 10_000 - used - len(end) + 3
    return [Call(OTHER, b"\2", [], [Say("x" * fill), ours, Log(body)])]


def test_a_forged_line_behind_cut_logs_is_anchorpys_and_not_ours():
    body = PLAIN[:8] + b"\1\2"
    calls = forging(body)
    logs = response(calls)["meta"]["logMessages"]
    assert "Log truncated" in logs
    assert logs[-1].startswith("Program data: ")  # it stands there

    found = walked(calls)
    assert found.truncated
    assert not found.emitted
    small = {
        **LEGACY,
        "events": [{"name": "Plain", "fields": []}],
    }
    events = []
    parser = EventParser(
        Pubkey.from_string(OURS), Coder(AnchorIdl.from_json(json.dumps(small)))
    )
    parser.parse_logs(logs, events.append)
    assert [event.name for event in events] == ["Plain"]  # whence the rule


@pytest.mark.parametrize("text", ["%%%", "b25", "YWFh YmJi", "b25l=\n", "é"])
def test_a_line_that_is_not_base64_is_kept_raw(text):
    raw = response([Call(OURS, b"\1", [], [Log(b"one"), Log(b"two")])])
    raw["meta"]["logMessages"][1] = "Program data: " + text
    found = walked_raw(raw)

    assert [each.body for each in found.strange] == [text.encode()]
    assert [each.body for each in found.emitted] == [b"two"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Program data: b25l"],
        [f"Program {OURS} success"],
        [f"Program {OURS} invoke [2]", "Program data: b25l"],
        [f"Program {OURS} invoke [1]", f"Program {OTHER} success", "Program data: "],
        [f"Program {OURS} invoke [x]", "Program data: b25l"],
        ["Program", "Program ", "Program  ", "Program log:", "", "Log truncated"],
    ],
)  # fmt: skip
def test_lines_that_do_not_fit_the_stack_give_nothing(lines):
    raw = response([Call(OURS, b"\1", [], [])])
    raw["meta"]["logMessages"] = lines
    found = walked_raw(raw)

    assert not found.emitted
    assert [call.data for call in found.calls] == [b"\1"]


@pytest.mark.parametrize(
    "change",
    [
        {"logMessages": None},
        {"innerInstructions": None},
        {"innerInstructions": [{"index": 0, "instructions": [
            {"programIdIndex": 99, "accounts": [], "data": ""}]}]},
    ],
)  # fmt: skip
def test_an_answer_without_its_parts_is_refused(change):
    raw = response([Call(OURS, b"\1", [], [])])
    raw["meta"] |= change
    with pytest.raises(Malformed):
        walked_raw(raw)
