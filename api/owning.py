"""Decide which rows the caller may read: all, their own, or none."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.auth.principal import Principal, current_principal, require_role
from api.errors import Problem
from api.service import Service
from db.accounts.accounts import EVM, SOLANA
from db.commands.spelling import address_text
from db.declare import Address, Field, Pubkey
from db.declare.readers import Readers
from db.reads import OWN


@dataclass(frozen=True, slots=True)
class Portion:
    """The part whose `field` has one of these values; without a field it is all."""

    field: str | None = None
    values: tuple[Any, ...] = ()

    def narrow(self, where: Mapping[str, Any], as_of: int | None) -> dict[str, Any]:
        """Return the filters narrowed to the caller's rows."""
        if self.field is None:
            return dict(where)
        if as_of is not None:
            raise Problem(
                "bad_query",
                "What is yours is listed as it is now. Leave out as_of, or ask for one "
                "row by its keys.",
            )
        return {**where, f"{self.field}{OWN}": list(self.values)}

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether a row, as it is answered, is in it."""
        if self.field is None:
            return True
        shown = {address_text(v) if isinstance(v, bytes) else v for v in self.values}
        return row.get(self.field) in shown

    def version(self, version: str) -> str:
        """The version of an answer that others are given otherwise."""
        if self.field is None:
            return version
        return f"{version}-{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}"


def portion_of(
    service: Service,
    readable_by: Readers,
    owned_by: str | None,
    fields: Mapping[str, Field],
) -> Portion:
    """Return the rows the caller may read; raises `not_signed_in` or `not_allowed`."""
    if readable_by is None:
        return Portion()
    principal = current_principal(service)
    if owned_by is None:
        require_role(principal, *readable_by)
    if owned_by is None or not principal.roles.isdisjoint(readable_by):
        return Portion()
    return Portion(owned_by, _names(principal, fields[owned_by]))


def _names(principal: Principal, field: Field) -> tuple[Any, ...]:
    """Return the values by which such a field names a principal."""
    if isinstance(field, Address | Pubkey):
        kind = EVM if isinstance(field, Address) else SOLANA
        return tuple(principal.wallets_of(kind))
    return () if principal.account is None else (str(principal.account),)
