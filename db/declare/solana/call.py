"""Calls of programs: an instruction of an IDL, its parts filled from fields.

    call = Invoke(
        "settlement.settle_purchase",
        {"purchase_id": purchase, "distributable": amount, "shares": shares},
        accounts={"buyer": buyer, "treasury": Named("treasury")},
        remaining=[Each(recipients, Ata(ITEM, Named("usdc")))],
        retried=("TreasuryShort",),
    )

Arguments and accounts are checked against the IDL at import. Errors of the program in
`retried` are no end of the command: it waits, held, and is tried again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.declare.artifacts import load_idl
from db.declare.calls import ChainCall, field_named
from db.declare.errors import DeclarationError
from db.declare.fields import Field, Json
from db.declare.solana.accounts import Account, Each, bind_account, bind_each
from db.declare.solana.types import holds, spelled
from idl import Idl, IdlError
from idl.model import AccountRef, InstructionLayout

DERIVED_DEPTH_MAX = 16
OWN = "program"  # the account by which Anchor's events by self-call name the program


class Invoke(ChainCall):
    """An instruction of a program, and what fills its arguments and accounts."""

    def __init__(
        self,
        instruction: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        accounts: Mapping[str, Any] | None = None,
        remaining: Sequence[Each] = (),
        retried: Sequence[str] = (),
        idl: Idl | None = None,  # of a program of the settings
    ) -> None:
        self.program, _, self.instruction = instruction.partition(".")
        self.arguments, self.accounts = arguments or {}, accounts or {}
        self.remaining, self.retried = tuple(remaining), tuple(retried)
        self.idl = idl

    @property
    def plain(self) -> bool:
        """Whether its program is one of the settings."""
        return self.idl is not None

    def bind(
        self, subject: str, names: Mapping[int, str], fields: Mapping[str, Field]
    ) -> "SolanaCallSpec":
        """Check it against the IDL; see `ChainCall`."""
        idl = self.idl or load_idl(self.program)
        try:
            layout = idl.instruction(self.instruction)
        except IdlError as error:
            raise DeclarationError(
                subject, str(error), "write Invoke with an instruction of the IDL"
            ) from None
        _check_retried(subject, idl, self.retried)
        return SolanaCallSpec(
            contract=self.program,
            idl=idl,
            layout=layout,
            arguments=_bind_arguments(subject, self, layout, names, fields),
            accounts=_bind_accounts(subject, self, layout, names, fields),
            remaining=tuple(
                bind_each(subject, each, names, fields) for each in self.remaining
            ),
            retried=frozenset(self.retried),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SolanaCallSpec:
    """A call as it was checked against the IDL."""

    contract: str
    idl: Idl
    layout: InstructionLayout
    arguments: Mapping[str, str]  # IDL argument to field
    accounts: Mapping[str, Account]  # those that the IDL does not give
    remaining: tuple[Each, ...]
    retried: frozenset[str]

    @property
    def at(self) -> str | None:
        """None: the settings have the program's address."""
        return None

    @property
    def signature(self) -> str:
        """`settle_purchase(purchase_id: [u8; 16], distributable: u64)`."""
        parts = (f"{each.name}: {spelled(each.type)}" for each in self.layout.fields)
        return f"{self.layout.name}({', '.join(parts)})"


def _check_retried(subject: str, idl: Idl, wanted: Sequence[str]) -> None:
    known = {each.name for each in idl.errors.values()}
    if missing := sorted(set(wanted) - known):
        raise DeclarationError(
            subject,
            f"{idl.name} has no error {', '.join(missing)}",
            f"name errors of the IDL: {', '.join(sorted(known)) or 'it has none'}",
        )


def _bind_arguments(
    subject: str,
    call: Invoke,
    layout: InstructionLayout,
    names: Mapping[int, str],
    fields: Mapping[str, Field],
) -> dict[str, str]:
    types = {each.name: each.type for each in layout.fields}
    if types.keys() != call.arguments.keys():
        raise DeclarationError(
            subject,
            f"{layout.name} takes {', '.join(types) or 'nothing'}, and is given "
            f"{', '.join(call.arguments) or 'nothing'}",
            "give it just its arguments",
        )
    bound = {}
    for name, written in call.arguments.items():
        field = field_named(subject, written, names)
        assert field is not None
        if not isinstance(fields[field], Json) and not holds(
            fields[field], types[name]
        ):
            raise DeclarationError(
                f"{subject}.{field}",
                f"{type(fields[field]).__name__} cannot fill {spelled(types[name])} "
                f"{name}",
                "use the field of that type (db.declare.solana.types has the table)",
            )
        bound[name] = field
    return bound


def _bind_accounts(
    subject: str,
    call: Invoke,
    layout: InstructionLayout,
    names: Mapping[int, str],
    fields: Mapping[str, Field],
) -> dict[str, Account]:
    refs = {each.name: each for each in layout.accounts}
    if unknown := sorted(call.accounts.keys() - refs.keys()):
        raise DeclarationError(
            subject,
            f"{layout.name} has no account {', '.join(unknown)}",
            f"name one of {', '.join(refs)}",
        )
    lacking = [
        name
        for name, ref in refs.items()
        if name not in call.accounts and not is_known(ref)
    ]
    if lacking:
        raise DeclarationError(
            subject,
            f"the IDL does not say what {', '.join(lacking)} of {layout.name} is",
            "write accounts={…} with each (db.declare.solana.accounts has the table)",
        )
    _check_derived(subject, layout, call.accounts.keys())
    return {
        name: bind_account(subject, written, names, fields)
        for name, written in call.accounts.items()
    }


def _check_derived(
    subject: str, layout: InstructionLayout, given: Collection[str]
) -> None:
    """Raise DeclarationError for accounts whose addresses cannot be derived.

    A call follows the same way from one to another: it would fail, or not end.
    """
    refs = {each.name: each for each in layout.accounts}
    arguments = {each.name for each in layout.fields}
    done: set[str] = set()

    def problem_of(name: str, path: tuple[str, ...]) -> str:
        if name in path:
            return f"it follows from itself, by {', '.join(path[path.index(name) :])}"
        if name not in refs:
            return f"{name} is no account of the instruction"
        ref = refs[name]
        if name in given or ref.address is not None or ref.derived is None:
            return ""
        if name in done:
            return ""
        if len(path) >= DERIVED_DEPTH_MAX:
            return f"it follows from more than {DERIVED_DEPTH_MAX} others in a row"
        for seed in ref.derived.parts:
            problem = ""
            if seed.kind == "arg" and seed.path not in arguments:
                problem = f"{seed.path} is no argument of the instruction"
            elif seed.kind == "account":
                problem = problem_of(seed.path, (*path, name))
            if problem:
                return problem
        done.add(name)
        return ""

    for name in refs:
        if problem := problem_of(name, ()):
            raise DeclarationError(
                subject,
                f"{name} of {layout.name} cannot be derived: {problem}",
                f"write what {name} is in accounts={{…}}, or correct the IDL",
            )


def is_known(ref: AccountRef) -> bool:
    """Whether an account needs no word in a declaration."""
    fixed = ref.address is not None or ref.derived is not None
    return fixed or ref.optional or ref.name == OWN
