"""Names fit for SQL, for the events of contracts and programs that have no code."""

import re
from collections.abc import Collection

from db.declare.events import RESERVED
from db.declare.names import snake_case

# Key words that Postgres reserves (its manual, appendix C), as column names.
_SQL = frozenset(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate
    column constraint create current_catalog current_date current_role current_time
    current_timestamp current_user default deferrable desc distinct do else end
    except false fetch for foreign from grant group having in initially intersect
    into lateral leading limit localtime localtimestamp not null offset on only or
    order placing primary references returning select session_user some symmetric
    system_user table then to trailing true union unique user using variadic when
    where window with authorization binary collation concurrently cross
    current_schema freeze full ilike inner is isnull join left like natural notnull
    outer overlaps right similar tablesample verbose xmin xmax cmin cmax ctid
    tableoid
    """.split()
)


def emitter_domain(emitter: str) -> str:
    """The domain of a contract or program in the settings: its tables begin with it."""
    return snake_case(clean_name(emitter))


def clean_name(name: str) -> str:
    """An event's name with only letters and digits, beginning with a letter."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "", name).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"Event{cleaned}"


def column_name(param: str) -> str:
    """The column of a parameter: 38 characters at most, and no word of SQL or ours."""
    name = re.sub(r"[^a-z0-9_]", "_", snake_case(param.strip("_$"))) or "arg"
    if name[0].isdigit():
        name = f"arg_{name}"
    name = name[:38]
    return f"{name}_" if name in _SQL or name in RESERVED else name


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, with a `_` behind it for each that is taken."""
    while name in taken:
        name = f"{name}_"
    return name
