"""Projections: tables folded from facts.

    class Holding(Projection):
        "One row per investor in a campaign: what they have at stake."

        campaign = Key()
        investor = Key()

        paid_in = Sum(e.InvestmentMade.amount)
        paid_back = Sum(e.RefundIssued.paid)

        invested = paid_in - paid_back

Every event a projection reads has a field with each key's name, or is `keyed`. A row
exists for a key as soon as one fact of any of its events has that key. A key may be a
time: `day = Bucket("1 day")` is the beginning of the day (UTC) of the fact's block.
Arithmetic and comparisons of folds are row expressions: computed on read, never stored.
`plural` overrides the name of the view and the route; `index` names the stored columns
that readers sort and filter by. A projection of journal entries may say `readable_by`,
as entries do.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from db.declare.bodies import names_word, refuse_bases, refuse_unknown
from db.declare.buckets import TimeBucket, seconds_of
from db.declare.errors import DeclarationError
from db.declare.events import Event, EventView
from db.declare.expressions import Expression
from db.declare.fields import Field, FieldKind
from db.declare.folds import (
    Average,
    Contribution,
    First,
    Fold,
    Latest,
    Max,
    Min,
    Stage,
    Sum,
    Top,
)
from db.declare.names import domain_of, snake_case
from db.declare.readers import EVERYONE, Readers, owner_of, readers_of
from db.declare.values import (
    NUMBERS,
    alike,
    full_type,
    same_type,
    type_name,
    value_field,
)

# Columns of every row, and what a class body says otherwise than by a column.
_RESERVED = frozenset(
    {"source", "chain", "as_of", "spec", "plural", "index", "readable_by"}
)


_WORDS = frozenset({"plural", "index", "readable_by"})


class Key:
    """A column that names the row; its type comes from the events' fields."""


class Bucket(Key):
    """A key made from the time of a fact's block: the beginning of its bucket.

    Buckets are counted from 1970-01-01 UTC, in seconds: "1 day", "15 minutes".
    """

    def __init__(self, length: str) -> None:
        self.field = TimeBucket(seconds_of(length))


@dataclass(frozen=True, slots=True, eq=False)
class ProjectionSpec:
    """A projection as its class body declares it."""

    name: str
    plural: str
    domain: str
    doc: str
    keys: Mapping[str, Field]
    folds: Mapping[str, Fold]
    expressions: Mapping[str, Expression]
    index: tuple[str, ...]
    readable_by: Readers = None
    owned_by: str | None = None

    @property
    def in_journal(self) -> bool:
        """Whether it is folded from the journal, and not from a chain."""
        return self.views[0].event.spec.in_journal

    @property
    def views(self) -> list[EventView]:
        """The views read, each once, in order of appearance."""
        return list(_views(self))

    @property
    def events(self) -> list[type[Event]]:
        """The events read, each once."""
        return list(_events(self))

    @property
    def replayed(self) -> bool:
        """Whether any of its folds depends on order."""
        return any(fold.replayed for fold in self.folds.values())

    def column_field(self, name: str) -> Field:
        """The type of a column that readers see."""
        if name in self.keys:
            return self.keys[name]
        if name in self.folds:
            return self.folds[name].field
        return value_field(self.expressions[name])

    @property
    def columns(self) -> list[str]:
        """The columns that readers see, in order of declaration."""
        return [*self.keys, *self.folds, *self.expressions]

    def fingerprint(self) -> str:
        """Changes exactly when the stored rows would: 12 hex digits."""
        content = {
            "compiler": 3,
            "name": self.name,
            "keys": {key: item.describe() for key, item in self.keys.items()},
            "folds": {name: fold.definition() for name, fold in self.folds.items()},
            "events": [event.spec.describe() for event in self.events],
            "index": self.index,
        }
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Projection:
    """The base of all declared projections."""

    spec: ProjectionSpec

    def __init_subclass__(cls) -> None:
        body = cls.__dict__
        refuse_bases(cls.__name__, cls.__bases__, Projection)
        refuse_unknown(
            cls.__name__, body, {*_WORDS, "spec"}, "keys, folds, row expressions",
            lambda value: isinstance(value, Key | Expression),
        )  # fmt: skip
        keys = [name for name, item in body.items() if isinstance(item, Key)]
        folds = {name: item for name, item in body.items() if isinstance(item, Fold)}
        expressions = {
            name: item
            for name, item in body.items()
            if isinstance(item, Expression) and name not in folds
        }
        folds |= _made_of_folds(cls.__name__, body)
        _fill_buckets(body, folds)
        _check_names(cls.__name__, keys, folds, expressions)
        key_fields = _key_fields(cls.__name__, keys, folds)
        given = body.get("readable_by")
        cls.spec = ProjectionSpec(
            name=cls.__name__,
            plural=_plural_of(cls),
            domain=body.get("__domain__", domain_of(cls.__module__)),
            doc=(cls.__doc__ or "").strip(),
            keys=key_fields,
            folds=folds,
            expressions=expressions,
            index=names_word(cls.__name__, body, "index"),
            readable_by=_readers(cls.__name__, folds, given),
            owned_by=owner_of(cls.__name__, given, {**key_fields, **_stored(folds)}),
        )
        owned_by = cls.spec.owned_by
        if owned_by is not None and owned_by not in (*keys, *cls.spec.index):
            raise DeclarationError(
                f"{cls.__name__}.readable_by",
                f"finding what is somebody's own by {owned_by} would read every row",
                f"add {owned_by!r} to `index`",
            )
        for name in cls.spec.index:
            if name not in keys and name not in folds:
                raise DeclarationError(
                    f"{cls.__name__}.index",
                    f"{name!r} is not a key or a fold",
                    "only stored columns can be indexed",
                )


def _made_of_folds(subject: str, body: Mapping[str, Any]) -> dict[str, Fold]:
    """The folds of each average, named after it."""
    found: dict[str, Fold] = {}
    for name, item in body.items():
        if isinstance(item, Average):
            found |= item.name_folds(name)
    for name in found:
        if name in body:
            raise DeclarationError(
                f"{subject}.{name}",
                "the name is taken by a part of an average",
                "choose another name",
            )
    return found


def _fill_buckets(body: Mapping[str, Any], folds: Mapping[str, Fold]) -> None:
    """Let every view fill the buckets of a projection from its facts' times."""
    buckets = [(k, b.field.name) for k, b in body.items() if isinstance(b, Bucket)]
    if not buckets:
        return
    for fold in folds.values():
        fold.contributions = tuple(
            Contribution(
                EventView(
                    each.view.event, (*each.view.keys, *buckets), each.view.condition
                ),
                each.value,
            )
            for each in fold.contributions
        )


def _stored(folds: Mapping[str, Fold]) -> dict[str, Field]:
    """Return the fields of folds that store a value unchanged."""
    return {
        name: fold.field
        for name, fold in folds.items()
        if isinstance(fold, First | Latest)
    }


def _readers(subject: str, folds: Mapping[str, Fold], given: Any) -> Readers:
    """Return who may read the rows; refuse a mixture of journal and chain."""
    views = [c.view for fold in folds.values() for c in fold.contributions]
    entries = [view.event.spec.name for view in views if view.event.spec.in_journal]
    others = [view.event.spec.name for view in views if not view.event.spec.in_journal]
    if entries and others:
        raise DeclarationError(
            subject,
            f"it reads {entries[0]} from the journal and {others[0]} from a chain",
            "make two projections: each row is of one source",
        )
    if entries:
        return readers_of(subject, given)
    if given not in (None, EVERYONE):
        raise DeclarationError(
            f"{subject}.readable_by",
            "what chains say is public",
            "leave it out",
        )
    return None


def _check_names(
    subject: str,
    keys: list[str],
    folds: dict[str, Fold],
    expressions: dict[str, Expression],
) -> None:
    if not keys:
        raise DeclarationError(subject, "it has no key", "write `name = Key()`")
    if not folds:
        raise DeclarationError(
            subject, "it folds nothing", "write `name = Count(Event)` or another fold"
        )
    hidden = set()
    for name, fold in folds.items():
        if fold.name != name:
            raise DeclarationError(
                f"{subject}.{name}",
                f"it is the same fold as {fold.name}",
                "write the fold once, or twice in full",
            )
        if isinstance(fold, (First, Latest)) or fold.replayed:
            hidden.add(f"{name}_at")
        if isinstance(fold, Stage):
            hidden.add(f"{name}_refused")
    for name in [*keys, *folds, *expressions]:
        if name in hidden or name in _RESERVED:
            raise DeclarationError(
                f"{subject}.{name}",
                "the name is taken by a column that Chainfold keeps",
                "choose another name",
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
            raise DeclarationError(
                f"{subject}.{name}",
                "names are lower case with underscores, 41 characters at most",
                "rename it",
            )
    for name, item in expressions.items():
        for leaf in item.leaves():
            if not isinstance(leaf, Fold) or leaf not in set(folds.values()):
                raise DeclarationError(
                    f"{subject}.{name}",
                    "a row expression may read only folds of the same projection",
                    "give the value a name of its own first",
                )
        value_field(item)


def _key_fields(
    subject: str, keys: list[str], folds: dict[str, Fold]
) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for fold in folds.values():
        for contribution in fold.contributions:
            for name, _ in contribution.view.keys:
                if name not in keys:
                    raise DeclarationError(
                        f"{subject}.{fold.name}",
                        f"keyed({name}=…) names no key of the table",
                        f"name one of {', '.join(keys)}",
                    )
            for key in keys:
                field = contribution.view.field_for_key(key)
                event = contribution.view.event.spec.name
                if field is None:
                    raise DeclarationError(
                        f"{subject}.{fold.name}",
                        f"{event} has no field for the key {key!r}",
                        f"declare one in {event}, or write {event}.keyed({key}=…)",
                    )
                known = found.setdefault(key, field)
                if not same_type(known, field):
                    raise DeclarationError(
                        f"{subject}.{key}",
                        f"{event} gives it as {full_type(field)}, "
                        f"another event as {full_type(known)}",
                        "declare both fields with the same type and meaning",
                    )
        _check_values(subject, fold)
    return found


def _check_values(subject: str, fold: Fold) -> None:
    """All contributions must have one type, and one that the fold can work with."""
    if fold.replayed:
        return
    fields = [value_field(c.value) for c in fold.contributions]
    wanted = NUMBERS if isinstance(fold, Sum | Top) else None
    if isinstance(fold, (Min, Max)):
        wanted = NUMBERS | {FieldKind.TEXT}
    for contribution, field in zip(fold.contributions, fields, strict=True):
        if wanted is not None and field.kind not in wanted:
            kind = type(fold).__name__
            raise DeclarationError(
                f"{subject}.{fold.name}",
                f"{kind} cannot work with {type_name(field)}",
                f"give {kind} numbers; other values go with First, Latest or "
                "CountDistinct",
            )
        if not alike(fields[0], field):
            raise DeclarationError(
                f"{subject}.{fold.name}",
                f"{contribution.view.event.spec.name} brings {type_name(field)}, "
                f"others {type_name(fields[0])}",
                "fold values of one type",
            )
    _ = fold.field  # refuses values of different meanings


def _plural_of(cls: type[Projection]) -> str:
    given = cls.__dict__.get("plural", _plural(snake_case(cls.__name__)))
    if not isinstance(given, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,44}", given):
        raise DeclarationError(
            f"{cls.__name__}.plural",
            f"{given!r} cannot name a table",
            "use lower case with underscores, 45 characters at most",
        )
    return given


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


@cache
def _views(spec: ProjectionSpec) -> tuple[EventView, ...]:
    seen: dict[Any, EventView] = {}
    for fold in spec.folds.values():
        for contribution in fold.contributions:
            seen.setdefault(contribution.view.identity(), contribution.view)
    return tuple(seen.values())


@cache
def _events(spec: ProjectionSpec) -> tuple[type[Event], ...]:
    return tuple({view.event.spec.id: view.event for view in _views(spec)}.values())
