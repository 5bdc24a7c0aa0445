"""Roles: who may ask for what. An account has one or more of them.

    CREATOR = Role("creator", self_service=True, newcomer=True)

A domain declares its own in `roles.py`, once, as names of the module. `self_service`:
whoever opens an account may choose it; `newcomer`: who chooses none is given it.
`Role.COMPLIANCE`, `Role.OPERATOR` and `Role.AUDITOR`, who look after the platform, are
everywhere. A role equals the text of its name, as it is stored and shown.
"""

import re
from typing import ClassVar, Self

from db.declare.errors import DeclarationError


class Role(str):
    """The role of an account on the platform."""

    OPERATOR: ClassVar["Role"]
    COMPLIANCE: ClassVar["Role"]
    AUDITOR: ClassVar["Role"]
    self_service: bool
    newcomer: bool

    def __new__(
        cls, name: str, *, self_service: bool = False, newcomer: bool = False
    ) -> Self:
        """Raise DeclarationError for a name that is none."""
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
            raise DeclarationError(
                f"Role({name!r})",
                "roles are lower case with underscores, 41 characters at most",
                "rename it",
            )
        role = super().__new__(cls, name)
        role.self_service, role.newcomer = self_service or newcomer, newcomer
        return role


Role.OPERATOR = Role("operator")
Role.COMPLIANCE = Role("compliance_officer")
Role.AUDITOR = Role("auditor")
SYSTEM_ROLES = (Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR)
