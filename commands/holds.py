"""Reasons to put a signer on hold, as one pass over its work finds them."""

from dataclasses import dataclass, field

from db.commands.states import Hold


@dataclass(slots=True)
class HoldReasons:
    """Reasons, collected in one pass, for putting the signer on hold.

    `accepted`: a node said that it takes bytes, or has them.
    """

    complaints: list[tuple[Hold, str]] = field(default_factory=list)
    accepted: bool = False

    def complain(self, hold: Hold, reason: str) -> None:
        """Add a reason to put the signer on hold."""
        self.complaints.append((hold, reason))
