"""Anchors one by one, and the last of each kind that a signer gave a subject."""

from db.declare import Count, First, Key, Latest, Projection
from db.journal.anchoring import events as e


class Anchor(Projection):
    """One hash on the chain: which, about what, by whom and when."""

    subject = Key()
    kind = Key()
    seq = Key()

    content_hash = First(e.HashAnchored.content_hash)
    signer = First(e.HashAnchored.signer)
    occurred_at = First(e.HashAnchored.occurred_at)
    reference = First(e.HashAnchored.reference)
    anchored_at = First(e.HashAnchored.block_time)

    index = ("content_hash",)


class LatestAnchor(Projection):
    """The last hash of a kind that a signer put on the chain about a subject."""

    subject = Key()
    kind = Key()
    signer = Key()

    content_hash = Latest(e.HashAnchored.content_hash)
    occurred_at = Latest(e.HashAnchored.occurred_at)
    reference = Latest(e.HashAnchored.reference)
    anchored_at = Latest(e.HashAnchored.block_time)
    seq = Latest(e.HashAnchored.seq)
    anchors = Count(e.HashAnchored)
