"""Readers of what is folded from the journal.

    readable_by = (STAFF, Own("beneficiary"))

are the roles that may read all of it, and those whom a row or an entry is about: the
field that `Own` names is one of their wallets, or their account.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from db.declare.errors import DeclarationError
from db.declare.fields import Address, Field, Pubkey, Text
from db.declare.roles import Role

Readers = tuple[Role, ...] | None  # None: everyone
EVERYONE = "everyone"
OWNING = (Address, Pubkey, Text)  # fields that may name an owner
# Who may read what no declaration speaks of: those who look after the platform.
STAFF = (Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR)


@dataclass(frozen=True, slots=True)
class Own:
    """Whoever the field of this name names: by a wallet, or by an account's id."""

    field: str


def owner_of(subject: str, given: Any, fields: Mapping[str, Field]) -> str | None:
    """Return the field with the owner's address; None: rows have no owner."""
    found = [each for each in _flat(given) if isinstance(each, Own)]
    if not found:
        return None
    name = found[0].field
    if len(found) > 1 or not isinstance(fields.get(name), OWNING):
        choices = [k for k, f in fields.items() if isinstance(f, OWNING)]
        raise DeclarationError(
            f"{subject}.readable_by",
            f"{name!r} names neither a wallet nor an account",
            f"write one Own(…), of {', '.join(choices) or 'a field to be added'}",
        )
    return name


def _flat(given: Any) -> list[Any]:
    """Return the readers without nested tuples, such as STAFF."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        return [given]
    return [item for each in given for item in _flat(each)]


def readers_of(subject: str, given: Any) -> Readers:
    """The roles that a class body names as readers; None: everyone."""
    if given is None:
        return STAFF
    if given == EVERYONE:
        return None
    roles = tuple(each for each in _flat(given) if not isinstance(each, Own))
    if not roles or not all(isinstance(role, Role) for role in roles):
        raise DeclarationError(
            f"{subject}.readable_by",
            f"{given!r} is not a list of roles",
            "write (Role.AUDITOR, …), (STAFF, Own(…)) or EVERYONE; roles are "
            f"{', '.join(STAFF)}",
        )
    return roles


def readers(allowed: Readers, owned_by: str | None = None) -> str:
    """Describe who may read."""
    if allowed is None:
        return "everyone"
    roles = ", ".join(role.replace("_", " ") for role in allowed)
    return roles if owned_by is None else f"{roles}, and whoever `{owned_by}` names"
