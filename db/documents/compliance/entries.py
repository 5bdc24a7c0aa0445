"""Journal entries about documents.

`content_hash` is the SHA-256 of a salt and the content; the salt follows from the
owner's key, so that nothing can be guessed from it once the owner is erased.
"""

from db.declare import Bytes32, Entry, Own, Personal, Role, Text, Uint, Uuid

READERS = (Role.COMPLIANCE, Role.AUDITOR, Own("account"))


class DocumentUploaded(Entry):
    """Somebody handed in a document about themselves."""

    document = Uuid()
    account = Uuid()
    type = Text()
    media_type = Text()
    size = Uint(63)
    content_hash = Bytes32()
    file_name = Personal(Text(), of="account")
    sha256 = Personal(Bytes32(), of="account")

    readable_by = READERS


class DocumentVerified(Entry):
    """Somebody else looked at a document and found it good."""

    document = Uuid()
    account = Uuid()
    reviewer = Text()

    readable_by = READERS


class DocumentRejected(Entry):
    """Somebody else looked at a document and turned it down; the reason is personal."""

    document = Uuid()
    account = Uuid()
    reviewer = Text()
    reason = Personal(Text(), of="account")

    readable_by = READERS


class DocumentSuperseded(Entry):
    """The owner handed in another document in the place of one."""

    document = Uuid()
    account = Uuid()
    by = Uuid()

    readable_by = READERS


class DocumentRead(Entry):
    """Somebody was given a document's content."""

    document = Uuid()
    account = Uuid()
    reader = Text()

    readable_by = READERS
