"""Journal entries: facts that are not public, declared as events are.

    class CampaignDrafted(Entry):
        "An issuer wrote down what a campaign is to be."

        draft = Uuid()
        issuer = Address()
        goal = Uint()
        contact = Personal(Text(), of="issuer")

        readable_by = (Role.COMPLIANCE, Role.AUDITOR)

An `Entry` is written by us, not by a contract: `db.journal.append` chains it to the one
before by its hash. Everything that takes an event takes an entry; `height` is its
number in the journal and `transaction` its hash. A projection reads entries or events
of chains, not both.

`Personal` marks a value about a person, whom the field named by `of` names. It is kept
apart, under a key of that person's, so that erasing them is deleting the key; it never
reaches facts or tables that are folded from them.

`readable_by` are the roles that may read the entries; `EVERYONE` makes them public.
`(STAFF, Own("issuer"))` are those who look after the platform, and whoever the field
names, by a wallet or an account.
When it is left out they are for compliance, operators and auditors. A projection over
entries says the same in its own body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from db.declare.bodies import refuse_unknown
from db.declare.emitters import Emitter, implicit
from db.declare.errors import DeclarationError
from db.declare.events import (
    Event,
    EventMeta,
    EventSpec,
    check_names,
    domain_and_doc,
)
from db.declare.fields import Bytes32, Field
from db.declare.readers import EVERYONE, Readers, owner_of, readers_of


@dataclass(frozen=True, slots=True, eq=False)
class Journal(Emitter):
    """The emitter of entries, which nothing but their class bodies describe."""

    implicit: ClassVar[Mapping[str, Field]] = implicit(Bytes32())  # of entries: hashes

    name: str = "journal"

    @property
    def interface(self) -> None:
        """Nothing: entries are described by their class bodies alone."""
        return None

    def find(self, subject: str, wanted: str) -> Mapping[str, Any]:
        """The schema of an entry whose fields are not tied to it yet."""
        return {"type": "entry", "name": wanted, "inputs": []}

    def bind(self, subject: str, item: Field, schema: Mapping[str, Any]) -> None:
        """Tie a field to the value of its own name; see `Emitter`."""
        item.param = item.name
        schema["inputs"].append({"name": item.name, "type": item.kind.value})

    def check_where(
        self, subject: str, where: Mapping[str, Any], schema: Mapping[str, Any]
    ) -> None:
        """Refuse any: an entry is written under one name only."""
        if where:
            raise DeclarationError(
                f"{subject}.where",
                "an entry has none",
                "declare an entry for each, or narrow what folds it with `only`",
            )

    def signature(self, schema: Mapping[str, Any]) -> str:
        """`Deposited(text,numeric)`: its name, and how its values are stored."""
        kinds = ",".join(str(each["type"]) for each in schema["inputs"])
        return f"{schema['name']}({kinds})"


JOURNAL = Journal()


class Personal:
    """A value about the person that another field of the entry names."""

    def __init__(self, value: Field, *, of: str) -> None:
        self.value = value
        self.of = of


@dataclass(frozen=True, slots=True, eq=False)
class EntrySpec(EventSpec):
    """An entry as its class body declares it."""

    kept_apart: Mapping[str, Field] = field(default_factory=dict)
    subject: str | None = None  # the field that names whom the personal values are of

    @property
    def in_journal(self) -> bool:
        return True

    @property
    def personal(self) -> Mapping[str, Field]:
        return self.kept_apart


class EntryMeta(EventMeta):
    """Turns a class body into an `EntrySpec`."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]
    ) -> "EventMeta":
        if Event in bases:
            return type.__new__(mcs, name, bases, body)
        kept = {key: item for key, item in body.items() if isinstance(item, Personal)}
        cls = super().__new__(
            mcs, name, bases, {k: v for k, v in body.items() if k not in kept}
        )
        cls.spec = _with_personal(cast(EntrySpec, cls.spec), kept)
        return cls

    @staticmethod
    def base() -> type:
        return Entry

    def read_spec(
        self, name: str, body: dict[str, Any], fields: dict[str, Field]
    ) -> EventSpec:
        if "source" in body:
            raise DeclarationError(
                name,
                "an entry's source is the journal",
                "leave out `source`, or make it an Event",
            )
        if not fields:
            raise DeclarationError(
                name, "it says nothing", "give it a field that is not personal"
            )
        refuse_unknown(
            name, body, {"readable_by"}, "fields", lambda v: isinstance(v, Field)
        )
        check_names(name, fields)
        domain, doc = domain_and_doc(body)
        schema = JOURNAL.find(name, name)
        for item in fields.values():
            JOURNAL.bind(name, item, schema)
        JOURNAL.check_where(name, body.get("where", {}), schema)
        given = body.get("readable_by")
        return EntrySpec(
            name, domain, doc, JOURNAL, schema, fields, {}, readers_of(name, given),
            owner_of(name, given, fields),
        )  # fmt: skip


class Entry(Event, metaclass=EntryMeta):
    """The base of all declared entries; an instance is one that may be appended."""

    values: Mapping[str, Any]
    personal: Mapping[str, Any]

    def __init__(self, **values: Any) -> None:
        """Check the values; raises ValueError, or TypeError for wrong names."""
        spec = self.spec
        known = {*spec.fields, *spec.personal}
        wrong = [*sorted(values.keys() - known), *sorted(known - values.keys())]
        if wrong:
            raise TypeError(
                f"{spec.name}: {', '.join(wrong)}: unknown or missing; it takes "
                f"{', '.join([*spec.fields, *spec.personal])}"
            )
        self.values = {k: _checked(f, values[k]) for k, f in spec.fields.items()}
        self.personal = {k: _checked(f, values[k]) for k, f in spec.personal.items()}

    @property
    def about(self) -> str | None:
        """Whom the personal values are about, None without any."""
        spec = self.spec
        if not isinstance(spec, EntrySpec) or spec.subject is None:
            return None
        return str(spec.fields[spec.subject].text(self.values[spec.subject]))


def _checked(declared: Field, value: Any) -> Any:
    if value is None:
        raise ValueError(f"{declared.name}: a value is needed")
    return declared.check_given(value)


def _with_personal(spec: EntrySpec, kept: Mapping[str, Personal]) -> EntrySpec:
    if not kept:
        return spec
    check_names(spec.name, kept)
    named = {item.of for item in kept.values()}
    for key, item in kept.items():
        item.value.name = key
        if item.of not in spec.fields or len(named) > 1:
            raise DeclarationError(
                f"{spec.name}.{key}",
                f"it is of {item.of!r}, and all personal values of an entry are of "
                "one person, whom a field of it names",
                f"write of= with one of {', '.join(spec.fields)}",
            )
    fields = {key: item.value for key, item in kept.items()}
    return EntrySpec(
        spec.name, spec.domain, spec.doc, spec.source, spec.schema, spec.fields,
        spec.where, spec.readable_by, spec.owned_by, fields, named.pop(),
    )  # fmt: skip


__all__ = [
    "EVERYONE", "JOURNAL", "Entry", "EntryMeta", "EntrySpec", "Personal", "Readers",
]  # fmt: skip
