"""Errors of commands before anything is signed."""

from db.commands.states import Hold


class CommandError(Exception):
    """Base: every message ends with a remedy."""


class Refused(CommandError):
    """The chain would revert the call: a final answer, and no nonce is spent on it."""


class NodeAway(CommandError):
    """No node answered as it should; nothing may be concluded from that."""


class NodeOfOtherChain(NodeAway):
    """A node of another chain answers where ours should."""


class SigningRefused(CommandError):
    """The signer will not sign this: not allowed, or over a limit on its value."""


class SigningHeld(CommandError):
    """The signer refuses for now; `hold` names the reason."""

    def __init__(self, hold: Hold, message: str) -> None:
        super().__init__(message)
        self.hold = hold


class BadTransaction(CommandError):
    """Signed bytes that are no transaction, or not the one that was asked for."""
