"""Token movements from what nodes tell of balances, however it is told."""

from __future__ import annotations

import random

import pytest

from db.declare import DeclarationError, Event, Int, Pubkey, TokenMoved, Tokens
from db.registry import Registry
from helpers.solana_calls import key
from idl.base58 import from_base58, to_base58
from indexer.rpc.messages import Malformed
from indexer.solana.assemble import NUMBER_MAX, Assembler, FollowedProgram, Placed
from indexer.solana.messages import (
    RpcAmount,
    RpcInstruction,
    RpcLoaded,
    RpcMessage,
    RpcMeta,
    RpcSigned,
    RpcTokenBalance,
    RpcTransaction,
)
from indexer.solana.movements import FIRST_NUMBER, TOKEN, movements
from indexer.solana.walk import walk

SIGNATURE = to_base58(bytes(range(7, 71)))


def balance(index, amount, *, owner="ann", mint="gold", program=TOKEN, decimals=6):
    return RpcTokenBalance(
        index,
        key(mint),
        RpcAmount(str(amount), decimals),
        owner and key(owner),
        program,
    )


def transaction(before, after, keys=8, slot=77, **meta):
    """A transaction with these balances; key n is `k<n>`."""
    message = RpcMessage([key(f"k{n}") for n in range(keys)], [])
    told = RpcMeta(
        None, [], [], pre_token_balances=before, post_token_balances=after, **meta
    )
    return RpcTransaction(slot, RpcSigned([SIGNATURE], message), told, 1_700_000_123, 5)


def found(before, after, keys=8):
    made = transaction(before, after, keys)
    return [
        (each.number - FIRST_NUMBER, amount_of(each.body))
        for each in movements(made, made.transaction.message.account_keys)
    ]


def amount_of(body):
    return int.from_bytes(body[96:112], "little", signed=True)


def test_numbers_are_unique_in_order_and_behind_all_that_ran():
    """Whatever moves among as many keys as a transaction may have."""
    chance = random.Random(5)
    every = range(256)
    before = [balance(n, chance.randint(1, 9), owner="ann") for n in every]
    after = [
        balance(n, chance.randint(10, 2**64 - 1), owner=chance.choice(["ann", "bob"]))
        for n in every
    ]
    chance.shuffle(before)
    chance.shuffle(after)
    made = transaction(before, after, keys=256)

    numbers = [
        each.number for each in movements(made, made.transaction.message.account_keys)
    ]

    assert len(numbers) > 300
    assert numbers == sorted(set(numbers))
    assert NUMBER_MAX < numbers[0]
    assert numbers[-1] < 1 << 16
    assert 1 << 16 == FIRST_NUMBER + 2 * 256


def test_what_runs_in_a_transaction_is_numbered_far_below():
    """At most 64 instructions, and lines that fit into 10,000 bytes of logs."""
    line = "Program data: "
    program = key("k1")
    lines = [f"Program {program} invoke [1]", *[line] * (10_000 // len(line))]
    made = transaction([], [])
    made.transaction.message.instructions += [RpcInstruction(1, [], "")] * 64
    made.meta.log_messages = lines

    [walked] = walk([made], frozenset([program]))

    assert max(each.number for each in walked.calls) == 63 + 10_000 // len(line)
    assert max(each.number for each in walked.calls) < NUMBER_MAX // 60


def test_only_differences_are_movements():
    before = [balance(1, 10), balance(3, 7), balance(5, 2), balance(6, 0)]
    after = [balance(1, 10), balance(3, 4), balance(4, 9), balance(6, 0)]

    assert found(before, after) == [(6, -3), (9, 9), (10, -2)]


@pytest.mark.parametrize(
    "changed",
    [{"owner": "bob"}, {"mint": "tin"}, {"program": key("t22")}, {"decimals": 9}],
)
def test_another_owner_or_mint_is_another_holding(changed):
    assert found([balance(2, 5)], [balance(2, 5, **changed)]) == [(4, -5), (5, 5)]
    assert found([balance(2, 5)], [balance(2, 0, **changed)]) == [(4, -5)]
    assert found([balance(2, 0)], [balance(2, 8, **changed)]) == [(5, 8)]


def test_a_balance_of_before_nodes_told_the_program_is_of_spl_token():
    made = transaction([], [balance(1, 3, program=None)])

    [only] = movements(made, made.transaction.message.account_keys)

    assert only.program == TOKEN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, []),
        ([], None),
        ([], [balance(1, 3, owner=None)]),
        ([], [balance(8, 3)]),
        ([], [balance(-1, 3)]),
        ([], [balance(1, 3), balance(1, 3)]),
        ([], [balance(1, 2**64)]),
        ([], [balance(1, "-1")]),
        ([], [balance(1, "9" * 5000)]),
        ([], [balance(1, "1.5")]),
        ([], [balance(1, 3, decimals=256)]),
        ([], [balance(1, 3, decimals=-1)]),
        ([], [RpcTokenBalance(1, "no key", RpcAmount("4", 0), key("ann"), TOKEN)]),
    ],
)
def test_what_no_node_says_is_asked_again(before, after):
    with pytest.raises(Malformed):
        found(before, after)


def assembled(made, starts, *, wanted=frozenset([TokenMoved.spec.id])):
    assembler = Assembler.of([FollowedProgram(Tokens(), starts, [TokenMoved])])
    out = assembler.assemble([Placed(made, 5, 1_700_000_123)], frozenset(), wanted)
    return [len(facts) for facts in out.facts], out


def test_a_transaction_is_looked_at_if_it_names_an_address_in_its_time():
    address = from_base58(key("k3"), 32)
    made = transaction([balance(1, 10)], [balance(1, 12)])

    assert assembled(made, {address: 0})[0] == [1]
    assert assembled(made, {address: 77})[0] == [1]
    assert assembled(made, {address: 78})[0] == []
    assert assembled(made, {from_base58(key("else"), 32): 0})[0] == []
    assert assembled(made, {address: 0}, wanted=frozenset(["other.Event"]))[0] == []


def test_a_transaction_that_failed_moves_nothing():
    made = transaction([balance(1, 10)], [balance(1, 12)])
    made.meta.err = {"InstructionError": [0, {"Custom": 1}]}

    sizes, out = assembled(made, {from_base58(key("k3"), 32): 0})

    assert (sizes, out.failed) == ([], [])


def test_keys_of_lookup_tables_count_as_the_transaction_s_own():
    """An index beyond the static keys is of a loaded one, and it may be followed."""
    account, followed = key("loaded one"), key("loaded two")
    made = transaction(
        [], [balance(8, 41)], loaded_addresses=RpcLoaded([account], [followed])
    )

    sizes, out = assembled(made, {from_base58(followed, 32): 0})

    assert sizes == [1]
    [facts] = out.facts
    assert facts.values["account"].tobytes() == from_base58(account, 32)
    assert assembled(made, {from_base58(key("k9"), 32): 0})[0] == []


class Arrived(Event):
    """What a business calls a movement."""

    source = Tokens()
    name = "TokenMoved"
    into = Pubkey(param="account")
    units = Int(param="amount")
    by = Pubkey(emitter=True)


def test_a_business_may_name_movements_itself():
    Registry.of([TokenMoved, Arrived])
    program = FollowedProgram(
        Tokens(), {from_base58(key("k5"), 32): 0}, [TokenMoved, Arrived]
    )
    made = transaction([balance(2, 2**64 - 1)], [balance(2, 6)])
    placed = [Placed(made, 65_535, 1_700_000_123)]
    ids = frozenset([Arrived.spec.id])

    [facts] = Assembler.of([program]).assemble(placed, frozenset(), ids).facts

    assert facts.event is Arrived
    assert facts.values["into"].tobytes() == from_base58(key("k2"), 32)
    assert facts.values["by"].tobytes() == from_base58(TOKEN, 32)
    assert facts.positions.tolist() == [77 << 32 | 65_535 << 16 | FIRST_NUMBER + 4]
    with pytest.raises(DeclarationError, match="no field 'memo'"):
        type("Odd", (Event,), {"source": Tokens(), "name": "TokenMoved",
                               "memo": Pubkey(), "__module__": "odd"})  # fmt: skip
