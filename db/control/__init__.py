"""Bookkeeping tables, in schema `control`; `db/migrations` creates them.

One module for each part of the product that keeps books: import a table from here.
"""

from db.control.accounts import (
    account,
    api_key,
    refresh_token,
    session,
    sign_in_attempt,
    sign_in_nonce,
    wallet,
)
from db.control.base import metadata
from db.control.commands import attempt, command, command_event, signer, slot
from db.control.indexing import (
    block,
    child,
    coverage,
    declaration,
    endpoint_limit,
    follower,
    function,
    incident,
    lease,
    proof,
    sender_transaction,
    source,
    undecodable_log,
    validator_set,
)
from db.control.journal import journal_entry, journal_head, subject_key
from db.control.notices import notice
from db.control.outbox import outbox, reaction, relay, wallet_watch
from db.control.signing import (
    signed,
    signed_intent,
    signing_day,
    signing_from,
    signing_stop,
    spent_day,
)
from db.control.solana import (
    failed_transaction,
    listing,
    signature,
    solana_attempt,
    solana_wallet,
)
from db.control.stripe import (
    stripe_account,
    stripe_count,
    stripe_event,
    stripe_reconciliation,
    stripe_refund,
    stripe_said,
    stripe_session,
    stripe_waiting,
    stripe_webhook,
)
from db.control.timers import due_done, schedule, schedule_request, schedule_run

__all__ = [
    "account",
    "api_key",
    "attempt",
    "block",
    "child",
    "command",
    "command_event",
    "coverage",
    "declaration",
    "due_done",
    "endpoint_limit",
    "failed_transaction",
    "follower",
    "function",
    "incident",
    "journal_entry",
    "journal_head",
    "lease",
    "listing",
    "metadata",
    "notice",
    "outbox",
    "proof",
    "reaction",
    "refresh_token",
    "relay",
    "schedule",
    "schedule_request",
    "schedule_run",
    "sender_transaction",
    "session",
    "sign_in_attempt",
    "sign_in_nonce",
    "signature",
    "signed",
    "signed_intent",
    "signer",
    "signing_day",
    "signing_from",
    "signing_stop",
    "slot",
    "solana_attempt",
    "solana_wallet",
    "source",
    "spent_day",
    "stripe_account",
    "stripe_count",
    "stripe_event",
    "stripe_reconciliation",
    "stripe_refund",
    "stripe_said",
    "stripe_session",
    "stripe_waiting",
    "stripe_webhook",
    "subject_key",
    "undecodable_log",
    "validator_set",
    "wallet",
    "wallet_watch",
]
