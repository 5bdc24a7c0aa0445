"""Fees are what a payer's balance lost, whatever became of its transactions."""

from __future__ import annotations

import asyncio
import random

import pytest
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.memo.instructions import MemoParams, create_memo
from sqlalchemy import text

from db.declare import Key, Projection, Sum
from db.declare.solana import FeePaid, Fees
from db.registry import Registry
from db.schema import migrate
from devnet.solana.client import Devnet
from helpers.solana_calls import Call, key, placed
from helpers.solana_following import catch_up, following
from helpers.tables import problems
from idl.base58 import from_base58
from indexer.rpc.messages import Malformed
from indexer.solana.assemble import Assembler, FollowedProgram
from indexer.solana.fees import NUMBER
from indexer.solana.movements import FIRST_NUMBER


class Spent(Projection):
    """What a payer has spent on fees."""

    plural = "spent"
    payer = Key()
    lamports = Sum(FeePaid.lamports)


REGISTRY = Registry.of([FeePaid], [Spent])
IDS = frozenset([FeePaid.spec.id])
PAYER = key("payer")  # of all that `response` makes


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def follow(engine, url, *payers):
    programs = [FollowedProgram(Fees(), {bytes(p): 0 for p in payers}, [FeePaid])]

    async def run():
        async with following(
            engine, [url], registry=REGISTRY, programs=programs
        ) as chain:
            await catch_up(chain)

    asyncio.run(run())
    with engine.connect() as connection:
        assert problems(connection, REGISTRY) == []
        facts = connection.execute(
            text(
                "SELECT transaction, payer, lamports, failed FROM public.fees_fee_paid"
            )
        ).all()
        rows = connection.execute(text("SELECT payer, lamports FROM public.spent"))
        return facts, {row.payer: int(row.lamports) for row in rows}


def sent_by(devnet, chance):
    """Send a transaction that moves nothing; whether it fails, and its signature."""
    more = [Keypair() for _ in range(chance.randint(0, 3))]
    payer, fails = devnet.payer.pubkey(), chance.random() < 0.3
    memo = create_memo(
        MemoParams(MEMO_PROGRAM_ID, payer, chance.randbytes(9).hex().encode())
    )
    calls = [
        create_memo(MemoParams(MEMO_PROGRAM_ID, each.pubkey(), b"too")) for each in more
    ]
    if chance.random() < 0.5:
        price = set_compute_unit_price(chance.randint(1, 3_000_000))
        calls = [price, set_compute_unit_limit(300_000), *calls]
    if fails:
        poor = Keypair()
        more.append(poor)
        calls.append(transfer(TransferParams(
            from_pubkey=poor.pubkey(), to_pubkey=payer, lamports=10**18)))  # fmt: skip
    signed = devnet.sign([memo, *calls], more, legacy=chance.random() < 0.5)
    return fails, devnet.post(signed, skipPreflight=True)


@pytest.mark.chain
def test_fees_are_what_balances_lost(engine, node):
    chance = random.Random(4)
    towns = [Devnet(node.url), Devnet(node.url)]
    stranger = Devnet(node.url)
    for each in (*towns, stranger):
        each.fund(lamports=10**10)
    sent = {}
    for _ in range(30):
        town = chance.choice([*towns, stranger])
        fails, signature = sent_by(town, chance)
        if town is not stranger:
            sent[signature] = (str(town.payer.pubkey()), fails)
        if chance.random() < 0.4:
            towns[0].advance()
    towns[0].advance(4)
    payers = [each.payer.pubkey() for each in towns]

    facts, spent = follow(engine, node.url, *payers)

    # The faucet's gifts name these keys too, and are paid by somebody else.
    assert {each.transaction: (each.payer, each.failed) for each in facts} == sent
    assert len(facts) == len(sent)
    assert {fails for _, fails in sent.values()} == {True, False}
    for payer in payers:
        asked = str(payer), {"commitment": "confirmed"}
        left = towns[0].call("getBalance", *asked)["value"]
        assert spent[str(payer)] == 10**10 - left > 0


def assembled(fee, *, payer=PAYER, start=0, slot=9, **how):
    one = placed([Call(key("p"))], slot, 3, **how)
    one.transaction.meta.fee = fee
    program = FollowedProgram(Fees(), {from_base58(payer, 32): start}, [FeePaid])
    return Assembler.of([program]).assemble([one], frozenset([payer]), IDS)


def test_a_fee_is_of_who_paid_it_in_its_time():
    [made] = assembled(5000).facts

    assert made.positions.tolist() == [9 << 32 | 3 << 16 | NUMBER]
    assert NUMBER == FIRST_NUMBER - 1
    assert assembled(5000, start=10).facts == []
    assert assembled(5000, payer=key("p")).facts == []  # named, and did not pay
    [failed] = assembled(2**64 - 1, error={"InstructionError": [0, "Custom"]}).facts
    assert len(failed) == 1


@pytest.mark.parametrize("fee", [None, -1, 2**64])
def test_what_no_node_says_is_asked_again(fee):
    with pytest.raises(Malformed, match="no fee that can be: ask again"):
        assembled(fee)


def test_a_node_that_tells_no_fee_is_read_for_others():
    assert assembled(None, payer=key("somebody")).facts == []
