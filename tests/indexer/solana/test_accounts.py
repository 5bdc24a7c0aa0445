"""Programs that are followed by accounts: what they did where one of these is named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.declare.solana.bare import declare_program
from helpers.solana_calls import Call, key, placed
from idl import load_builtin
from idl.base58 import from_base58, to_base58
from idl.parse import builtins
from indexer.solana.assemble import Assembler, FollowedProgram

EVENTS = {name: declare_program(f"b_{name}", load_builtin(name)) for name in builtins()}
PLACES = {name: load_builtin(name).address for name in EVENTS}
IDS = frozenset(event.spec.id for each in EVENTS.values() for event in each)
ANN, BOB, LATE = key("ann"), key("bob"), key("late")
OTHER = key("some program")
STARTS = {ANN: 0, LATE: 50}


def raw(text):
    return from_base58(text, 32)


def followed(name, starts):
    addresses = {raw(text): start for text, start in starts.items()}
    events, place = EVENTS[name], PLACES[name]
    return FollowedProgram(events[0].spec.source, addresses, events, [place])


def assembled(programs, transactions, listed=(ANN, LATE)):
    return Assembler.of(programs).assemble(transactions, frozenset(listed), IDS)


def counted(made):
    return sum(len(each.positions) for each in made.facts)


def transfer(*accounts, amount=5, program="token"):
    data = bytes([3]) + amount.to_bytes(8, "little")
    return Call(to_base58(PLACES[program]), data, list(accounts))


NAMES = st.sampled_from([ANN, BOB, LATE, key("carol")])
CALLS = st.lists(st.tuples(st.booleans(), NAMES, NAMES), min_size=1, max_size=3)
BLOCKS = st.lists(st.tuples(st.integers(40, 60), CALLS), max_size=6)


@settings(max_examples=120, deadline=None)
@given(BLOCKS)
def test_only_transactions_that_name_an_account_in_its_time_count(blocks):
    """Whichever of its calls does so, and however deep a call of the program is."""
    transactions, expected = [], 0
    for index, (slot, calls) in enumerate(blocks):
        made = [
            Call(OTHER, does=[transfer(one, two, BOB)]) if inner
            else transfer(one, two, BOB)
            for inner, one, two in calls
        ]  # fmt: skip
        transactions.append(placed(made, slot, index))
        named = {name for _, *names in calls for name in names}
        if ANN in named or (LATE in named and slot >= 50):
            expected += len(calls)

    made = assembled([followed("token", STARTS)], transactions)

    assert counted(made) == expected
    assert not made.undecodable


def test_each_program_has_accounts_of_its_own():
    """What one of them brings is no fact of the other, nor of one that is whole."""
    whole = FollowedProgram(
        EVENTS["memo"][0].spec.source, {PLACES["memo"]: 0}, EVENTS["memo"]
    )
    memo = Call(to_base58(PLACES["memo"]), b"hi")
    programs = [followed("token", {ANN: 0}), followed("token_2022", {BOB: 0}), whole]
    both = [transfer(ANN, LATE, LATE), transfer(ANN, LATE, LATE, program="token_2022")]
    listed = [ANN, BOB, to_base58(PLACES["memo"])]

    made = assembled(programs, [placed([*both, memo])], listed)

    tables = {each.event.spec.source.name: len(each.positions) for each in made.facts}
    assert tables == {"b_token": 1, "b_memo": 1}


def test_what_is_not_asked_for_now_is_not_looked_at():
    """A range may be read for some addresses alone."""
    one = placed([transfer(ANN, BOB, BOB)])

    assert counted(assembled([followed("token", {ANN: 0})], [one], [ANN])) == 1
    assert counted(assembled([followed("token", {ANN: 0})], [one], [BOB])) == 0


@pytest.mark.parametrize(("names", "kept"), [([ANN], 1), ([BOB], 0)])
def test_what_failed_is_kept_where_an_account_is_named(names, kept):
    error = {"InstructionError": [0, {"Custom": 1}]}
    failed = placed([transfer(*names, LATE, LATE)], error=error)

    made = assembled([followed("token", {ANN: 0})], [failed], [ANN])

    assert [each.error for each in made.failed] == ["InsufficientFunds"] * kept
    assert not made.facts


HOSTILE = st.tuples(st.sampled_from(list(EVENTS)), st.binary(max_size=70),
                    st.lists(NAMES, max_size=7))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, min_size=1, max_size=8))
def test_every_instruction_is_a_fact_or_kept_as_bytes(calls):
    done = [Call(to_base58(PLACES[name]), data, names) for name, data, names in calls]
    one = placed([*done, Call(OTHER, b"", [ANN])])

    made = assembled([followed(name, {ANN: 0}) for name in EVENTS], [one])

    refused = [each for each in made.undecodable if not each.kept]
    assert counted(made) + len(refused) == len(calls)
    for each in made.facts:
        for column in each.values.values():
            assert len(column) == len(each.positions)
