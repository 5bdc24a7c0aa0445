"""Entries of the audit log: commands, refusals, sign-ins, erasures."""

from db.declare import (
    EVERYONE,
    STAFF,
    Bytes32,
    Entry,
    Json,
    Own,
    Text,
    Uint,
    Uuid,
)

# Bytes; each argument has a maximum of its own, which its command declares.
ARGUMENTS_LENGTH_MAX = 1 << 20


class CommandAccepted(Entry):
    """A command was accepted; its proof is an event on the chain, if it comes."""

    command = Uuid()
    kind = Text()
    arguments = Json(max_length=ARGUMENTS_LENGTH_MAX)


class CommandRefused(Entry):
    """A command was refused, and why; nothing was sent."""

    kind = Text()
    reason = Text()
    arguments = Json(max_length=ARGUMENTS_LENGTH_MAX)


class ActionTaken(Entry):
    """Somebody did something about a command, a signer, an incident or a schedule.

    `action` is cancel, release, stop, allow, resume, resolve or run; `subject` the
    command's id, the signer's or schedule's name or the incident's number and chain;
    `outcome` the state of the command then, or the reason of a stop or of an incident's
    end.
    """

    action = Text()
    subject = Text()
    outcome = Text()


class SecurityEvent(Entry):
    """Something that concerns an account's safety: a sign-in, a refusal, a new key."""

    kind = Text()
    account = Text()
    details = Json()

    readable_by = (STAFF, Own("account"))


class SubjectErased(Entry):
    """The key of a person was deleted: what was kept under it cannot be read again."""

    subject = Text()


class DayClosed(Entry):
    """A day (UTC) of the journal is over: nothing can be said in it any more.

    `first` and `last` are the numbers of its entries, `root` is what they add up to,
    `last_hash` the hash of the last. They tell nothing of what was said.
    """

    day = Text()
    first = Uint(63)
    last = Uint(63)
    root = Bytes32()
    last_hash = Bytes32()

    readable_by = EVERYONE
