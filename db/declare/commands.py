"""Commands: what may be asked, of a chain or of the journal, and who may ask.

    class RegisterIssuer(Command):
        "Admit an issuer, with the hash of its credential."

        issuer = Address()
        credential = Text()
        memorandum = Text()

        role = Role.OPERATOR
        signer = "registrar"
        call = Call(
            "IssuerRegistry.registerIssuer",
            issuer=issuer, vcHash=credential, ipfsHash=memorandum,
        )
        proof = e.IssuerRegistered

`call` names a contract and a function of its ABI, which are checked at import, as are
the arguments; `at=` gives the field that holds the contract's address when a factory
makes many, `value=` the field with the wei to send. Parameters whose names Python or
`Call` reserve stand in a mapping: `Call("Token.approve", {"value": amount}, …)`.
`signer` is a name in the settings, or `CALLER`: the client's own wallet signs. `proof`
is the event that shows that it was done. `role` is who may ask, one or several. `rules`
are generators of refusals (`db.declare.rules`). `once_per` names the fields that make a
reaction's request the same.

`route` is its path in the API besides `/commands/<slug>`. What is in angle brackets
fills a field: `"campaigns/<campaign>/pause"`. With a projection, as in
`Route("investments/<investment>/mint-nft", via=Investment)`, it is the key of a row,
which fills the fields of the same names.

A command that changes no chain has `record` instead of `call`: an entry of the journal,
whose fields are all filled from the command's fields of the same names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.declare.bodies import refuse_bases, refuse_unknown
from db.declare.calls import CallSpec, ChainCall, field_named
from db.declare.errors import DeclarationError
from db.declare.events import Event
from db.declare.fields import Field
from db.declare.names import domain_of, snake_case
from db.declare.projections import Projection
from db.declare.roles import Role
from db.declare.rules import Rule, check_rules
from db.declare.units import meaning_words

WORDS = frozenset(
    {"role", "signer", "call", "record", "proof", "rules", "once_per", "route"}
)


class Caller:
    """The client's own wallet, in the place of a signer's name."""

    def __repr__(self) -> str:
        return "CALLER"


CALLER = Caller()


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the API; the keys of `via` are in it, its row fills other fields."""

    path: str
    via: type[Projection] | None = None

    @property
    def names(self) -> list[str]:
        """The names in angle brackets."""
        return re.findall(r"<(\w+)>", self.path)


@dataclass(frozen=True, slots=True, eq=False)
class CommandSpec:
    """A command as its class body declares it."""

    name: str
    slug: str
    domain: str
    doc: str
    fields: Mapping[str, Field]
    roles: tuple[Role, ...]
    rules: tuple[Rule, ...]
    once_per: tuple[str, ...]
    signer: str | None  # None: the caller's wallet, or no chain at all
    call: CallSpec | None
    proof: type[Event] | None
    record: type[Event] | None
    route: Route | None

    @property
    def by_caller(self) -> bool:
        """Whether the client's own wallet signs."""
        return self.call is not None and self.signer is None


class Command:
    """The base of all declared commands; an instance is one with its values."""

    spec: CommandSpec

    def __init__(self, **values: Any) -> None:
        """A command with these values, checked; raises ValueError for wrong ones."""
        missing = self.spec.fields.keys() - values.keys()
        unknown = values.keys() - self.spec.fields.keys()
        if missing or unknown:
            raise ValueError(
                f"{self.spec.name} takes {', '.join(self.spec.fields)}: "
                f"missing {', '.join(sorted(missing)) or 'none'}, "
                f"unknown {', '.join(sorted(unknown)) or 'none'}"
            )
        self.values = {
            name: field.check_given(values[name])
            for name, field in self.spec.fields.items()
        }
        self.__dict__.update(self.values)

    def as_json(self) -> dict[str, Any]:
        """The values as they are stored and shown."""
        return as_json(self.spec.fields, self.values)

    def __init_subclass__(cls) -> None:
        body = cls.__dict__
        refuse_bases(cls.__name__, cls.__bases__, Command)
        refuse_unknown(
            cls.__name__, body, WORDS, "fields", lambda v: isinstance(v, Field)
        )
        fields = {name: item for name, item in body.items() if isinstance(item, Field)}
        names = {id(item): name for name, item in fields.items()}
        call, record = body.get("call"), body.get("record")
        if (call is None) == (record is None):
            raise DeclarationError(
                cls.__name__,
                "it must change a chain or the journal, and not both",
                'write `call = Call("Contract.f", …)` or `record = <Entry>`',
            )
        spec = None if call is None else _bind_call(cls.__name__, call, names, fields)
        if record is not None:
            _check_record(cls.__name__, record, fields)
        cls.spec = CommandSpec(
            name=cls.__name__,
            slug=snake_case(cls.__name__).replace("_", "-"),
            domain=body.get("__domain__", domain_of(cls.__module__)),
            doc=(cls.__doc__ or "").strip(),
            fields=fields,
            roles=_roles(cls.__name__, body.get("role")),
            rules=check_rules(cls.__name__, body.get("rules", ())),
            once_per=_once_per(cls.__name__, body.get("once_per", ()), names),
            signer=_signer(cls.__name__, body.get("signer"), spec),
            call=spec,
            proof=_proof(
                cls.__name__,
                body.get("proof"),
                spec,
                plain=isinstance(call, ChainCall) and call.plain,
            ),
            record=record,
            route=_route(cls.__name__, body.get("route"), fields),
        )


def as_json(fields: Mapping[str, Field], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields in JSON: bytes as text, integers as decimal strings."""
    return {
        name: str(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else fields[name].text(value)
        for name, value in values.items()
    }


def _bind_call(
    subject: str, call: Any, names: Mapping[int, str], fields: Mapping[str, Field]
) -> CallSpec:
    if not isinstance(call, ChainCall):
        raise DeclarationError(
            subject, "it calls nothing", 'write `call = Call("Contract.f", …)`'
        )
    return call.bind(subject, names, fields)


def _check_record(subject: str, record: Any, fields: Mapping[str, Field]) -> None:
    if not (isinstance(record, type) and issubclass(record, Event)):
        raise DeclarationError(
            subject, "it records nothing", "write `record = <Entry>`"
        )
    for name, field in {**record.spec.fields, **record.spec.personal}.items():
        if name not in fields:
            raise DeclarationError(
                subject,
                f"nothing fills {record.spec.name}.{name}",
                f"give it a field {name}",
            )
        if fields[name].describe() != field.describe():
            raise DeclarationError(
                f"{subject}.{name}",
                f"it is {fields[name].describe()}, and {record.spec.name}.{name} is "
                f"{field.describe()}",
                "use the same field in both",
            )
        if fields[name].meaning != field.meaning:
            raise DeclarationError(
                f"{subject}.{name}",
                f"it is {meaning_words(fields[name].meaning)}, and {record.spec.name}."
                f"{name} is {meaning_words(field.meaning)}",
                "give both the same meaning",
            )
        if (fields[name].max_length or 0) > (field.max_length or 0):
            raise DeclarationError(
                f"{subject}.{name}",
                f"it takes {fields[name].max_length}, and {record.spec.name}.{name} "
                f"{field.max_length}",
                "use the same max_length in both",
            )


def _roles(subject: str, given: Any) -> tuple[Role, ...]:
    roles = given if isinstance(given, tuple) else (given,)
    if not roles or not all(isinstance(role, Role) for role in roles):
        raise DeclarationError(
            subject, "nobody may ask for it", "write `role = Role.OPERATOR`, or several"
        )
    return roles


def _once_per(subject: str, given: Any, names: Mapping[int, str]) -> tuple[str, ...]:
    if not isinstance(given, tuple):
        raise DeclarationError(
            f"{subject}.once_per",
            f"{given!r} is not a tuple of fields",
            "write once_per = (<field>,), with a comma behind one field",
        )
    return tuple(str(field_named(subject, item, names)) for item in given)


def _signer(subject: str, given: Any, call: CallSpec | None) -> str | None:
    if call is None:
        if given is not None:
            raise DeclarationError(
                subject, "the journal needs no signer", "leave `signer` out"
            )
        return None
    if given is CALLER:
        return None
    if not isinstance(given, str):
        raise DeclarationError(
            subject,
            "it has no signer",
            'write `signer = "<name>"`, or `signer = CALLER` for the client\'s wallet',
        )
    return given


def _proof(
    subject: str, given: Any, call: CallSpec | None, *, plain: bool
) -> type[Event] | None:
    if call is None or (given is None and plain):
        return None
    if not (isinstance(given, type) and issubclass(given, Event)):
        raise DeclarationError(subject, "nothing proves it", "write `proof = <Event>`")
    return given


def _route(subject: str, given: Any, fields: Mapping[str, Field]) -> Route | None:
    route = Route(given) if isinstance(given, str) else given
    if route is None:
        return None
    known = fields if route.via is None else route.via.spec.keys
    if not isinstance(route, Route) or not set(route.names) <= set(known):
        raise DeclarationError(
            subject,
            f"its route {given!r} names something else than {', '.join(known)}",
            'write `route = "<plural>/<field>/<verb>"`, or Route(…, via=<Projection>)',
        )
    return route
