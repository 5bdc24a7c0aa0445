"""Entries of the audit log: commands, refusals, sign-ins, erasures."""

from db.declare import Entry, Json, Text, Uuid


class CommandAccepted(Entry):
    """A command was accepted; its proof is an event on the chain, if it comes."""

    command = Uuid()
    kind = Text()
    arguments = Json()


class CommandRefused(Entry):
    """A command was refused, and why; nothing was sent."""

    kind = Text()
    reason = Text()
    arguments = Json()


class SecurityEvent(Entry):
    """Something that concerns an account's safety: a sign-in, a refusal, a new key."""

    kind = Text()
    account = Text()
    details = Json()


class SubjectErased(Entry):
    """The key of a person was deleted: what was kept under it cannot be read again."""

    subject = Text()
