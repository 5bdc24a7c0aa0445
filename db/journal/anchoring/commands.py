"""Putting a hash on the chain."""

from db.declare import Bytes32, Call, Command, Role, Time, Uint
from db.journal.anchoring import events as e


class AnchorHash(Command):
    """Put a hash about a subject on the chain, for all to compare.

    Kinds are in hundreds: 100 documents, 200 deals, 300 shipments, 400 orders, 500
    rates, 600 compliance; 600 is the root of a day of the journal, 102 a verified
    document.
    """

    subject = Bytes32()
    kind = Uint(16)
    content_hash = Bytes32()
    occurred_at = Uint(64, meaning=Time())
    reference = Bytes32()

    role = (Role.OPERATOR, Role.COMPLIANCE)
    signer = "notary"
    call = Call(
        "AnchorRegistry.anchor",
        subject=subject,
        kind=kind,
        contentHash=content_hash,
        occurredAt=occurred_at,
        ref=reference,
    )
    proof = e.HashAnchored
