"""Who may read what is folded from the journal."""

from collections.abc import Iterable
from typing import Any

from db.declare.errors import DeclarationError
from db.declare.roles import Role

Readers = tuple[Role, ...] | None  # None: everyone
EVERYONE = "everyone"
# Who may read what no declaration speaks of: those who look after the platform.
STAFF = (Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR)


def readers_of(subject: str, said: Any) -> Readers:
    """The roles that a class body names as readers; None: everyone."""
    if said is None:
        return STAFF
    if said == EVERYONE:
        return None
    roles = tuple(said) if isinstance(said, Iterable) else ()
    if not roles or not all(isinstance(role, Role) for role in roles):
        raise DeclarationError(
            f"{subject}.readable_by",
            f"{said!r} is not a list of roles",
            f"write (Role.AUDITOR, …) or EVERYONE; roles are {', '.join(Role)}",
        )
    return roles


def readers(allowed: Readers) -> str:
    """Who may read, in words."""
    if allowed is None:
        return "everyone"
    return ", ".join(role.replace("_", " ") for role in allowed)
