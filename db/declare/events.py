"""Events: what a contract can emit, under our names and types.

    campaigns = Contract("CampaignImplementation", created_by=CampaignCreated.campaign)

    class InvestmentMade(Event):
        "An investor paid into a campaign."

        source = campaigns
        campaign = Address(emitter=True)
        investor = Address()
        amount = Uint()

Reading `InvestmentMade.amount` gives a `FieldRef`, the leaf that folds are built from.
Every event also has `block_time` (seconds since the epoch), `height`, `position` and
`transaction` (the transaction's id). `name = "…"` gives the name (or the full
signature, for an overloaded event) on the chain when it is not the class's;
`where = {param: value}` takes only the logs with those values, so one event on the
chain may be several here.

The source may be a `Program` of Solana, `Program("ledger")` of `idl/ledger.json`. Its
events and its instructions are declared alike; the accounts that an instruction names
are fields too, `Pubkey()`, and the transaction's id is its signature.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from db.declare.bodies import refuse_bases, refuse_unknown, text_word
from db.declare.buckets import bucket_named
from db.declare.emitters import PLACE, Emitter, Schema
from db.declare.errors import DeclarationError
from db.declare.expressions import Binary, Expression
from db.declare.fields import Field, FieldKind
from db.declare.names import domain_of, snake_case
from db.declare.readers import Readers
from db.declare.values import value_field

KEYS = frozenset({"position", "transaction"})  # those that may be a projection's key
WORDS = frozenset({"source", "name", "where"})  # of an event's class body
RESERVED = frozenset(
    {*PLACE, "transaction", "chain", "source", "name", "where", "spec", "as_of"}
    | {"keyed", "only", "event", "keys", "condition", "identity", "field_for_key"}
    | {"mro", "readable_by"}
)


@dataclass(frozen=True, slots=True, eq=False)
class EventSpec:
    """An event as its class body declares it."""

    name: str  # the class's name
    domain: str
    doc: str
    source: Emitter
    schema: Schema = field(repr=False)  # of the ABI or IDL
    fields: Mapping[str, Field]
    where: Mapping[str, Any]
    readable_by: Readers = None
    owned_by: str | None = None  # the field that names who may read what is theirs

    @property
    def in_journal(self) -> bool:
        """Whether it is an entry of the journal, and no event of a chain."""
        return False

    @property
    def personal(self) -> Mapping[str, Field]:
        """The fields that are about a person, which never reach facts."""
        return {}

    @property
    def table(self) -> str:
        """The name of its fact table and of its view."""
        return f"{self.domain}_{snake_case(self.name)}"

    @property
    def id(self) -> str:
        """The name under which coverage is kept."""
        return f"{self.domain}.{self.name}"

    def describe(self) -> dict[str, Any]:
        """Describe what facts depend on; after a change the chain is read again."""
        heights = self.source.heights(self.schema)
        bounds = {"heights": [list(each) for each in heights]} if heights else {}
        return bounds | {
            "event": self.id,
            "signature": self.source.signature(self.schema),
            "fields": {
                name: [f.describe(), "emitter" if f.emitter else f.param]
                for name, f in self.fields.items()
            },
            "where": {name: repr(value) for name, value in self.where.items()},
        }


class EventMeta(type):
    """Turns a class body into an `EventSpec` and attribute reads into `FieldRef`s."""

    spec: EventSpec

    def __new__(
        mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]
    ) -> "EventMeta":
        if not bases:
            return super().__new__(mcs, name, bases, body)
        refuse_bases(name, bases, mcs.base())
        fields = {key: item for key, item in body.items() if isinstance(item, Field)}
        cls = super().__new__(
            mcs, name, bases, {k: v for k, v in body.items() if k not in fields}
        )
        for key, item in fields.items():
            item.name = key
        cls.spec = cls.read_spec(name, body, fields)
        return cls

    @staticmethod
    def base() -> type:
        """The class that declarations of this kind name as their base."""
        return Event

    def read_spec(
        cls, name: str, body: dict[str, Any], fields: dict[str, Field]
    ) -> EventSpec:
        """Read a class body, and check it against the ABI."""
        return _read_spec(name, body, fields)

    def __getattr__(cls, name: str) -> "FieldRef":
        if name.startswith("__") or "spec" not in cls.__dict__:
            raise AttributeError(name)
        return EventView(cast("type[Event]", cls)).__getattr__(name)

    def keyed(cls, **keys: str) -> "EventView":
        """The event under other key names: `Transfer.keyed(holder="to")`."""
        return EventView(cast("type[Event]", cls)).keyed(**keys)

    def only(cls, condition: Expression) -> "EventView":
        """Those facts of the event for which the condition holds."""
        return EventView(cast("type[Event]", cls)).only(condition)


class Event(metaclass=EventMeta):
    """The base of all declared events."""

    spec: EventSpec


@dataclass(frozen=True, slots=True, eq=False)
class EventView:
    """An event as one projection reads it: its keys renamed, its facts narrowed."""

    event: type[Event]
    keys: tuple[tuple[str, str], ...] = ()
    condition: Expression | None = None

    def keyed(self, **keys: str) -> "EventView":
        """Name the field that fills a key whose name the event does not have."""
        for key, name in keys.items():
            if name not in self.event.spec.fields:
                raise DeclarationError(
                    f"{self.event.spec.name}.keyed({key}={name!r})",
                    "the event has no such field",
                    f"use one of {', '.join(self.event.spec.fields)}",
                )
        return EventView(self.event, self.keys + tuple(keys.items()), self.condition)

    def only(self, condition: Expression) -> "EventView":
        """Narrow to the facts for which the condition holds."""
        if not isinstance(condition, Expression):
            raise DeclarationError(
                f"{self.event.spec.name}: where {condition!r}",
                "it is not a condition",
                "compare fields of the event, as in Event.amount > 0",
            )
        for leaf in condition.leaves():
            if not isinstance(leaf, FieldRef) or leaf.view.event is not self.event:
                raise DeclarationError(
                    f"{self.event.spec.name}: where {condition.describe()}",
                    "a condition may read only fields of the event it narrows",
                    f"use fields of {self.event.spec.name}",
                )
        if value_field(condition).kind is not FieldKind.BOOLEAN:
            raise DeclarationError(
                f"{self.event.spec.name}: where {condition.describe()}",
                "it is not a condition",
                "compare it with something, as in Event.amount > 0",
            )
        both = (
            condition
            if self.condition is None
            else Binary("and", self.condition, condition)
        )
        return EventView(self.event, self.keys, both)

    def field_for_key(self, key: str) -> Field | None:
        """The field that fills a key, None when the event cannot."""
        name = dict(self.keys).get(key, key)
        found = self.event.spec.fields.get(name)
        if found is None and name in KEYS:
            return self.event.spec.source.implicit[name]
        return bucket_named(name) if found is None else found

    def identity(self) -> tuple[Any, ...]:
        """Equal for two views that select the same facts under the same keys."""
        where = None if self.condition is None else self.condition.describe()
        return (self.event.spec.id, self.keys, where)

    def __getattr__(self, name: str) -> "FieldRef":
        implicit = self.event.spec.source.implicit
        known = self.event.spec.fields.get(name) or implicit.get(name)
        if known is None and name in self.event.spec.personal:
            raise DeclarationError(
                f"{self.event.spec.name}.{name}",
                "it is personal, and personal values never reach facts",
                "fold other fields; `db.journal.personal` reads it",
            )
        if known is None:
            raise DeclarationError(
                f"{self.event.spec.name}.{name}",
                "the event has no such field",
                f"use one of {', '.join([*self.event.spec.fields, *implicit])}",
            )
        return FieldRef(self, known)


@dataclass(frozen=True, slots=True, eq=False)
class FieldRef(Expression):
    """One field of an event."""

    view: EventView
    field: Field

    def describe(self) -> str:
        return f"{self.view.event.spec.id}.{self.field.name}"


def _read_spec(name: str, body: dict[str, Any], fields: dict[str, Field]) -> EventSpec:
    refuse_unknown(name, body, WORDS, "fields", lambda v: isinstance(v, Field))
    source = body.get("source")
    if isinstance(source, Field):
        raise DeclarationError(
            name,
            f"its source is its own field {source.name!r}, which hides the contract",
            "give the contract another name than the field",
        )
    if not isinstance(source, Emitter):
        raise DeclarationError(
            name,
            "it has no source",
            "write `source = Contract(…)` or `source = Program(…)` in its body",
        )
    check_names(name, fields)
    schema = source.find(name, text_word(name, body, "name", name))
    for item in fields.values():
        source.bind(name, item, schema)
    where = body.get("where", {})
    if not isinstance(where, Mapping):
        raise DeclarationError(
            f"{name}.where", f"{where!r} gives no values", 'write where = {"param": 3}'
        )
    where = dict(where)
    source.check_where(name, where, schema)
    domain, doc = domain_and_doc(body)
    return EventSpec(name, domain, doc, source, schema, fields, where)


def check_names(subject: str, names: Iterable[str]) -> None:
    """Refuse names that a field cannot have."""
    for key in names:
        if key in RESERVED:
            raise DeclarationError(
                f"{subject}.{key}",
                "the name is taken by the vocabulary",
                f"choose another and write `{key}_ = …(param={key!r})`",
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", key):
            raise DeclarationError(
                f"{subject}.{key}",
                "field names are lower case with underscores, 41 characters at most",
                "rename it and keep the chain's name with param=",
            )


def domain_and_doc(body: Mapping[str, Any]) -> tuple[str, str]:
    """The domain that a class body belongs to, and its docstring."""
    domain = str(body.get("__domain__", domain_of(str(body.get("__module__", "")))))
    return domain, (body.get("__doc__") or "").strip()
