"""Which of several accounts of one name pays: spread, and kept to."""

from types import SimpleNamespace

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from commands.solana.choosing import choices, simulate_choices
from commands.solana.node import Simulated
from db.declare.solana.accounts import SIGNER, Known, Named

PAYER, PROGRAM, VAULT, OTHER, THIRD, MINT = (
    bytes([number, *range(31)]) for number in range(1, 7)
)
SEVERAL = {"vault": (VAULT, OTHER, THIRD), "mint": (MINT,)}
NAMES = {"payer": SIGNER, "vault": Named("vault"), "mint": Named("mint"),
         "fixed": Known(VAULT)}  # fmt: skip
CALL = SimpleNamespace(
    accounts=NAMES,
    layout=SimpleNamespace(accounts=[SimpleNamespace(name=name) for name in NAMES]),
)


def instruction(data=b"\x09\x01"):
    keys = ((PAYER, True), (VAULT, True), (MINT, False), (VAULT, False), (OTHER, True))
    return Instruction(
        Pubkey.from_bytes(PROGRAM), data,
        [
            AccountMeta(Pubkey.from_bytes(key), key == PAYER, writable)
            for key, writable in keys
        ],
    )  # fmt: skip


def keys(made):
    return [bytes(meta.pubkey) for meta in made.accounts]


class Node:
    """A node on which a call succeeds with some accounts only."""

    def __init__(self, *rich):
        self.rich, self.asked = rich, []

    def simulate(self, raw, payer, writable):
        [vault] = [key for key in writable[1:2] if key in SEVERAL["vault"]]
        self.asked.append(vault)
        error = None if vault in self.rich else {"InstructionError": [2, vault[0]]}
        return Simulated(77, error, tokens={MINT: vault[0]})


def test_each_is_named_once_and_nothing_else_changes():
    made = list(choices(CALL, instruction(), SEVERAL))

    assert sorted(keys(each)[1] for each in made) == sorted(SEVERAL["vault"])
    for each in made:
        assert keys(each)[:1] + keys(each)[2:] == [PAYER, MINT, VAULT, OTHER]
        assert bytes(each.data) == b"\x09\x01"
        flags = [(meta.is_signer, meta.is_writable) for meta in each.accounts]
        assert flags == [(m.is_signer, m.is_writable) for m in instruction().accounts]


def test_the_order_follows_from_the_arguments_and_spreads():
    def first(data):
        return keys(next(choices(CALL, instruction(data), SEVERAL)))[1]

    found = [first(bytes([9, number])) for number in range(90)]

    assert found == [first(bytes([9, number])) for number in range(90)]
    assert all(found.count(each) > 15 for each in SEVERAL["vault"])


@pytest.mark.parametrize(
    ("call", "several"),
    [(CALL, {}), (CALL, {"vault": (OTHER,)}), (None, SEVERAL)],
)
def test_without_a_choice_the_instruction_stays(call, several):
    assert list(choices(call, instruction(), several)) == [instruction()]


def test_the_first_that_succeeds_is_taken():
    for rich in SEVERAL["vault"]:
        node = Node(rich)
        made, found = simulate_choices(node, CALL, instruction(), PAYER, SEVERAL)

        assert keys(made)[1] == rich
        assert (found.error, found.tokens) == (None, {MINT: rich[0]})
        assert node.asked[-1] == rich
        assert len(set(node.asked)) == len(node.asked)


def test_with_none_the_first_says_why():
    node = Node()
    made, found = simulate_choices(node, CALL, instruction(), PAYER, SEVERAL)

    assert len(node.asked) == 3
    assert keys(made)[1] == node.asked[0]
    assert found.error == {"InstructionError": [2, node.asked[0][0]]}
