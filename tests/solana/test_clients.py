"""The library that others use reads what the node answers."""

from __future__ import annotations

import asyncio
import os

import pytest
from solana.rpc.api import Client
from solana.rpc.commitment import Confirmed
from solana.rpc.types import DataSliceOpts, MemcmpOpts, TokenAccountOpts
from solana.rpc.websocket_api import connect
from solders.commitment_config import CommitmentLevel
from solders.pubkey import Pubkey
from solders.rpc.config import (
    RpcSendTransactionConfig,
    RpcTransactionLogsFilterMentions,
)
from solders.rpc.errors import SendTransactionPreflightFailureMessage
from solders.rpc.requests import SendVersionedTransaction
from solders.rpc.responses import SendTransactionResp
from solders.signature import Signature
from solders.transaction_status import TransactionConfirmationStatus

from devnet.solana import ledger
from devnet.solana.client import associated
from devnet.solana.ledger import Entry

pytestmark = pytest.mark.chain


@pytest.fixture
def library(solana_node) -> Client:
    return Client(solana_node.url, commitment=Confirmed)


def test_history_is_read(library, chain):
    author, identity = chain.payer.pubkey(), os.urandom(32)
    whom = [Pubkey.new_unique(), Pubkey.new_unique()]
    call = ledger.record(author, identity, Entry((3, 4)), whom)
    signature = Signature.from_string(chain.send(call, legacy=False))

    found = library.get_transaction(
        signature, "base64", max_supported_transaction_version=0
    ).value
    sent = found.transaction
    assert sent.transaction.signatures == [signature]
    assert len(sent.meta.inner_instructions[0].instructions) == 2
    assert bytes(sent.meta.return_data.data) == identity
    for encoding in ("json", "jsonParsed"):
        other = library.get_transaction(
            signature, encoding, max_supported_transaction_version=0
        ).value
        assert other.slot == found.slot
        assert other.transaction.meta.fee == 5000
    [status] = library.get_signature_statuses([signature]).value
    assert status.confirmation_status == TransactionConfirmationStatus.Confirmed
    chain.advance(32)  # what follows is asked for at `finalized`
    block = library.get_block(found.slot, max_supported_transaction_version=0).value
    assert block.parent_slot < found.slot
    assert len(block.transactions) == 1
    [row] = library.get_signatures_for_address(
        Pubkey(bytes(ledger.receipt(identity)))
    ).value
    assert (row.signature, row.err) == (signature, None)
    assert library.get_blocks(found.slot, found.slot).value == [found.slot]


def test_state_is_read(library, chain):
    author, identity = chain.payer.pubkey(), os.urandom(32)
    chain.send(ledger.record(author, identity, Entry((3,)), [author]))
    mint = chain.make_mint(2)
    held = chain.make_account(mint, author)
    chain.mint_to(mint, held, 12_345)

    receipt = library.get_account_info(ledger.receipt(identity)).value
    assert (receipt.owner, len(receipt.data)) == (ledger.PROGRAM, 122)
    [row] = library.get_program_accounts(
        ledger.PROGRAM,
        filters=[122, MemcmpOpts(offset=8, bytes=str(Pubkey(identity)))],
        data_slice=DataSliceOpts(offset=8, length=32),
    ).value
    assert bytes(row.account.data) == identity
    assert library.get_token_account_balance(held).value.ui_amount_string == "123.45"
    assert library.get_token_supply(mint).value.amount == "12345"
    [token] = library.get_token_accounts_by_owner(
        author, TokenAccountOpts(mint=mint)
    ).value
    assert token.pubkey == held == associated(author, mint)
    assert library.get_balance(author).value > 0
    assert library.get_multiple_accounts([mint, Pubkey.new_unique()]).value[1] is None
    assert library.get_epoch_info().value.absolute_slot == library.get_slot().value
    assert library.get_latest_blockhash().value.last_valid_block_height > 150
    assert library.get_version().value.solana_core == "4.1.2"


def test_transactions_are_sent_and_refused(library, chain):
    good, bad = (chain.sign([call]) for call in (ledger.mark(1, 2), ledger.fail(5)))

    assert library.send_transaction(good).value == good.signatures[0]
    told = library.simulate_transaction(bad).value
    assert told.err.err.code == 5
    config = RpcSendTransactionConfig(preflight_commitment=CommitmentLevel.Confirmed)
    body = SendVersionedTransaction(bad, config).to_json()
    answer = chain.rpc._exchange(body.encode()).decode()
    refusal = SendTransactionResp.from_json(answer)
    assert isinstance(refusal, SendTransactionPreflightFailureMessage)
    assert refusal.data.err.err.code == 5


def test_logs_are_subscribed_to(solana_node, chain):
    author = chain.payer.pubkey()

    async def story() -> None:
        async with connect(solana_node.ws_url) as socket:
            wanted = RpcTransactionLogsFilterMentions(author)
            await socket.logs_subscribe(wanted, Confirmed)
            await socket.recv()
            signature = chain.send(
                ledger.emit(author, bytes(32), Entry((1,)), [author])
            )
            [told] = await asyncio.wait_for(socket.recv(), 5)
            assert str(told.result.value.signature) == signature

    asyncio.run(story())
