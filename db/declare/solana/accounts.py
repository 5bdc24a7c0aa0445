"""Accounts of an instruction, as declarations name them.

| written                     | is                                                     |
|-----------------------------|--------------------------------------------------------|
| a Pubkey field              | the key that the command is given                      |
| `"So1…"`                    | that address                                           |
| `SIGNER`                    | who signs and pays: the signer, or the caller's wallet |
| `Named("treasury")`         | the address of that name in `[chains.<name>.accounts]` |
| `Ata(owner, mint)`          | the owner's associated token account                   |
| `Ata(owner, mint, program)` | that of another token program                          |
| `Each(field, Ata(ITEM, …))` | an account for each key in a Json list; in `remaining` |

What an IDL says itself, a fixed address or how one is derived, need not be written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from db.declare.calls import field_named
from db.declare.errors import DeclarationError
from db.declare.fields import Field, Json, Pubkey
from idl.base58 import from_base58

TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 (an address)
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"  # noqa: S105 (an address)


@dataclass(frozen=True, slots=True)
class Known:
    """An address that is the same in every call."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Given:
    """The key in a field of the command."""

    field: str


class Signer:
    """The account that signs the transaction and pays for it."""

    def __repr__(self) -> str:
        return "SIGNER"


class Item:
    """The key that `Each` is at."""

    def __repr__(self) -> str:
        return "ITEM"


SIGNER, ITEM = Signer(), Item()


@dataclass(frozen=True, slots=True)
class Named:
    """An address of the settings, which differs from cluster to cluster.

    With `owner` and `mint` it is a token account of theirs: `chainfold doctor` checks.
    """

    name: str
    owner: Any = None
    mint: Any = None


@dataclass(frozen=True, slots=True)
class Ata:
    """An associated token account: of an owner, for a mint, by a token program."""

    owner: Any
    mint: Any
    program: Any = TOKEN


@dataclass(frozen=True, slots=True)
class Each:
    """One account for each key in the list that a field holds."""

    field: Any
    account: Any = ITEM
    writable: bool = True


Account: TypeAlias = Known | Given | Signer | Item | Named | Ata


# Any: whatever a class body says where an account should be.
def bind_account(
    subject: str, written: Any, names: Mapping[int, str], fields: Mapping[str, Field]
) -> Account:
    """Return an account with its fields named; raises DeclarationError."""
    if isinstance(written, Signer | Item | Named):
        return written
    if isinstance(written, Ata):
        return Ata(
            bind_account(subject, written.owner, names, fields),
            bind_account(subject, written.mint, names, fields),
            bind_account(subject, written.program, names, fields),
        )
    if isinstance(written, str):
        try:
            return Known(from_base58(written, 32))
        except ValueError as error:
            raise DeclarationError(
                subject, f"{written!r} is no address: {error}", "write it in base58"
            ) from None
    name = field_named(subject, written, names)
    if name is None or not isinstance(fields[name], Pubkey):
        raise DeclarationError(
            subject, f"{name} is no account", "use a Pubkey field of the command"
        )
    return Given(name)


def bind_each(
    subject: str, written: Any, names: Mapping[int, str], fields: Mapping[str, Field]
) -> Each:
    """Return accounts for the keys in a list; raises DeclarationError."""
    name = (
        field_named(subject, written.field, names)
        if isinstance(written, Each)
        else None
    )
    if name is None or not isinstance(fields[name], Json):
        raise DeclarationError(
            subject,
            "remaining accounts are none that a field lists",
            "write Each(<a Json field with keys>, Ata(ITEM, …))",
        )
    account = bind_account(subject, written.account, names, fields)
    return Each(name, account, written.writable)
