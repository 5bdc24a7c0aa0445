"""Documents, each with its status."""

from db.declare import Count, First, Key, Latest, Projection, Stage
from db.documents.compliance import entries as e


class KycDocument(Projection):
    """One document: whose it is, what it is, and what was found.

    `uploaded_in` and `decided_in` are the journal's entries that say so.
    """

    document = Key()

    account = First(e.DocumentUploaded.account)
    type = First(e.DocumentUploaded.type)
    media_type = First(e.DocumentUploaded.media_type)
    size = First(e.DocumentUploaded.size)
    content_hash = First(e.DocumentUploaded.content_hash)
    uploaded_at = First(e.DocumentUploaded.block_time)
    uploaded_in = First(e.DocumentUploaded.height)
    status = Stage(
        ([""], e.DocumentUploaded, "pending"),
        (["pending"], e.DocumentVerified, "verified"),
        (["pending"], e.DocumentRejected, "rejected"),
        (["pending", "verified", "rejected"], e.DocumentSuperseded, "superseded"),
    )
    reviewer = Latest(e.DocumentVerified.reviewer, e.DocumentRejected.reviewer)
    decided_at = Latest(e.DocumentVerified.block_time, e.DocumentRejected.block_time)
    decided_in = Latest(e.DocumentVerified.height, e.DocumentRejected.height)
    superseded_by = Latest(e.DocumentSuperseded.by)
    reads = Count(e.DocumentRead)

    index = ("account", "status", "content_hash")
    readable_by = e.READERS
