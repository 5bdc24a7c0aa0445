"""Timers: commands and entries that time asks for.

    @due(rows=Campaign, at="deadline", when={"stage": ("active",)})
    def finalise(campaign, tables):
        "The deadline is over, so the campaign is ended."
        yield FinaliseCampaign(campaign=campaign.campaign)

`due` declares a `Due`: its function is given each row whose moment is over. The moment
is the column `at`, in seconds since 1970, which is stored; `when` has columns and the
values that they must have. It is judged at the chain's last final block, by that
block's time, or by the wall clock with `clock="wall"`; rows folded from the journal go
by the wall clock. A row is given once for each moment: another deadline makes it due
again.

    @schedule("0 9 * * MON", zone="America/Toronto")
    def reconcile(at, tables):
        "Compare the treasury with the chain every Monday morning."
        yield WeekReconciled(week=…)

`schedule` declares a `Schedule`: its function is run at the times of a rule in the form
of crontab(5), in a time zone of IANA. A time that a clock change leaves out runs at the
change, one that it repeats runs once. After downtime `missed="last"` runs the last of
the times gone by, `missed="each"` every one. A new or another rule runs nothing before
its next time. The function is given the time, with its zone, and the tables: of the
journal as they are, of the one chain with events of its domain, if there is just one,
at its last final block.

Both are generators of commands and entries, without a database, a clock or randomness.
What one run asks for happens once, in one transaction with the note that it ran.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from db.declare.commands import Command
from db.declare.errors import DeclarationError
from db.declare.fields import FieldKind
from db.declare.folds import CountDistinct, Replay, Stage
from db.declare.journal import Entry
from db.declare.names import domain_of
from db.declare.notices import Notice
from db.declare.projections import Projection, ProjectionSpec
from db.declare.rules import Tables, takes_two
from db.declare.settings import Given, Setting

Asked = Command | Entry | Notice
Ask = Callable[[Any, Tables], Iterator[Asked]]
CHAIN, WALL = "chain", "wall"
LAST, EACH = "last", "each"


@dataclass(frozen=True, slots=True)
class Due:
    """A function, and the rows that it is given when their moments have passed."""

    name: str
    domain: str
    doc: str
    rows: type[Projection]
    at: str
    clock: str
    when: Mapping[str, tuple[Any, ...]]
    ask: Ask

    @property
    def id(self) -> str:
        """`crowdfunding.finalise`."""
        return f"{self.domain}.{self.name}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function, and the rule of the times at which it is run."""

    name: str
    domain: str
    doc: str
    rule: str
    zone: str
    missed: str
    ask: Ask = field(repr=False)
    zone_set: Callable[[Given], str] | None = None

    @property
    def id(self) -> str:
        """`settlement.reconcile`."""
        return f"{self.domain}.{self.name}"

    def as_set(self, given: Given) -> "Schedule":
        """The schedule in the zone that the settings say."""
        if self.zone_set is None:
            return self
        return replace(self, zone=self.zone_set(given))

    def after(self, moment: datetime) -> datetime:
        """The first time of the rule after a moment."""
        local = moment.astimezone(ZoneInfo(self.zone))
        return next(CronSim(self.rule, local)).astimezone(UTC)

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """The times of the rule from one moment to another, both included."""
        local = first.astimezone(ZoneInfo(self.zone))
        yield first
        for each in CronSim(self.rule, local):
            moment = each.astimezone(UTC)
            if moment > last:
                return
            yield moment


def due(
    *,
    rows: type[Projection],
    at: str,
    clock: str = CHAIN,
    when: Mapping[str, tuple[Any, ...]] | None = None,
) -> Callable[[Ask], Due]:
    """Declare that a function is given rows whose moments have passed, each once."""

    def declare(function: Ask) -> Due:
        subject = function.__name__
        _check_generator(subject, function, "(row, tables)")
        if not (isinstance(rows, type) and issubclass(rows, Projection)):
            raise DeclarationError(
                subject, f"{rows!r} is no projection", "write rows=<Projection>"
            )
        _check_columns(subject, rows.spec, at, when or {})
        if clock not in (CHAIN, WALL) or (clock == CHAIN and rows.spec.in_journal):
            raise DeclarationError(
                subject,
                f"{clock!r} is no clock of {rows.spec.plural}",
                'write clock="wall"' if rows.spec.in_journal else '"chain" or "wall"',
            )
        return Due(subject, domain_of(function.__module__), _doc(function), rows, at,
                   clock, dict(when or {}), function)  # fmt: skip

    return declare


def schedule(
    rule: str, *, zone: str | Setting[str], missed: str = LAST
) -> Callable[[Ask], Schedule]:
    """Declare that a function is run at the times of a crontab rule in a zone.

    With a setting of the domain for `zone`, in the zone that is set.
    """
    zone_set = zone.among_given if isinstance(zone, Setting) else None
    zone = zone.default if isinstance(zone, Setting) else zone

    def declare(function: Ask) -> Schedule:
        subject = function.__name__
        _check_generator(subject, function, "(at, tables)")
        try:
            next(CronSim(rule, datetime.now(ZoneInfo(zone))))
        except (CronSimError, StopIteration, TypeError, AttributeError):
            raise DeclarationError(
                subject,
                f"{rule!r} is no rule of times",
                'write minute hour day month weekday, as "0 9 * * MON"',
            ) from None
        except (ZoneInfoNotFoundError, ValueError):
            raise DeclarationError(
                subject, f"there is no zone {zone!r}", 'write one as "America/Toronto"'
            ) from None
        if missed not in (LAST, EACH):
            raise DeclarationError(
                subject, f"missed={missed!r} is not known", 'write "last" or "each"'
            )
        return Schedule(subject, domain_of(function.__module__), _doc(function), rule,
                        zone, missed, function, zone_set)  # fmt: skip

    return declare


def _check_columns(
    subject: str, spec: ProjectionSpec, at: str, when: Mapping[str, Any]
) -> None:
    stored = dict(spec.keys)
    for name, fold in spec.folds.items():
        if not isinstance(fold, Replay | CountDistinct):
            stored[name] = fold.field
    moments = [
        name
        for name, item in stored.items()
        if item.kind in (FieldKind.BIGINT, FieldKind.NUMERIC)
        and not isinstance(spec.folds.get(name), Stage)
    ]
    if at not in moments:
        raise DeclarationError(
            subject,
            f"{spec.plural} store no moment {at!r}",
            f"write at= with one of {', '.join(moments) or 'none: add a column'}",
        )
    for name, values in when.items():
        if name not in stored or not isinstance(values, tuple):
            raise DeclarationError(
                f"{subject}.when",
                f"{name}: {values!r} are not values of a stored column",
                f"write when={{column: (value,)}} with one of {', '.join(stored)}",
            )


def _check_generator(subject: str, function: Any, arguments: str) -> None:
    if not inspect.isgeneratorfunction(function) or not takes_two(function):
        raise DeclarationError(
            subject,
            "it is not a generator of commands and entries",
            f"write def {subject}{arguments} and `yield` each",
        )


def _doc(function: Ask) -> str:
    return (function.__doc__ or "").strip()
