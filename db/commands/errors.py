"""Errors of requests about commands; `api.command_problems` answers each."""

from db.errors import DatabaseError


class KeyReused(DatabaseError):
    """The idempotency key was used for another request."""


class NotCancellable(DatabaseError):
    """Only the wallet that signed the command can replace its transaction."""


class AlreadyEnded(DatabaseError):
    """The command has ended: there is nothing to relay for it."""


class SignedBefore(DatabaseError):
    """The wallet signed the same call with this nonce, for another command."""


class NonceConflict(DatabaseError):
    """The wallet's earlier transaction may still run; another nonce could repeat it."""


class TooManyWaiting(DatabaseError):
    """More commands wait for a signer, a wallet or an account than may."""
