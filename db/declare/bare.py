"""Events of contracts that have an ABI and no code of ours.

Every event of the ABI becomes a declared event whose domain is the contract's name in
the settings, so its facts are in `<contract>_<event>`. Names are made fit for SQL:

- parameters in snake case, without leading underscores; one without a name is `arg<n>`;
- a name that SQL or Chainfold reserves gets a `_` behind it: `from_`, `to_`;
- overloaded events get the first 8 digits of their topic: `transfer_ddf252ad`, and
  those of one signature that differ in what is indexed the number of such parameters:
  `transfer_ddf252ad_3`;
- `contract` is the address that wrote the log.

Anonymous events are left out, as nothing in a log says which they are, and so are those
with a parameter of a type that is not known.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eth_utils.crypto import keccak

from db.declare.events import RESERVED, Contract, Event, EventMeta
from db.declare.fields import Address, Field, field_for_abi
from db.declare.names import snake_case
from db.declare.signatures import identity, long_type, signature

log = logging.getLogger(__name__)

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


def domain_of(contract: str) -> str:
    """The domain of a contract in the settings: what its tables' names begin with."""
    return snake_case(_clean(contract))


def declare_events(
    name: str, abi: Sequence[Mapping[str, Any]], *, tagged: bool = True
) -> list[type[Event]]:
    """Declare every event of an ABI under a contract's name in the settings."""
    named = [with_names(item) for item in abi if item.get("type") == "event"]
    named = [item for item in named if _is_known(name, item)]
    # A proxy's ABI often has the events of what it stands for once more.
    named = list({identity(item): item for item in reversed(named)}.values())[::-1]
    contract = Contract(name, tagged=tagged, abi=named or [{"type": "none"}])
    counts = Counter(snake_case(_clean(item["name"])) for item in named)
    alike = Counter(signature(item) for item in named)
    return [
        _declare(
            contract,
            item,
            overloaded=counts[snake_case(_clean(item["name"]))] > 1,
            alike=alike[signature(item)] > 1,
        )
        for item in named
    ]


def _is_known(contract: str, item: Mapping[str, Any]) -> bool:
    """Whether an event can be kept; the log says which is left out, and why."""
    try:
        if item.get("anonymous"):
            raise ValueError("it is anonymous: its logs cannot be told from others")
        _fields(item)
    except ValueError as error:
        log.warning("event_left_out contract=%s event=%s cause=%s", contract,
                    item["name"], error)  # fmt: skip
        return False
    return True


def _declare(
    contract: Contract, abi: Mapping[str, Any], *, overloaded: bool, alike: bool
) -> type[Event]:
    text = identity(abi) if alike else signature(abi)
    name = _clean(abi["name"])
    topic = keccak(text=signature(abi)).hex()[:8]
    if alike:
        topic += f"_{sum(item['indexed'] for item in abi['inputs'])}"
    if overloaded:
        name = f"{name}_{topic}"
    domain = domain_of(contract.name)
    if len(domain) + len(snake_case(name)) > 43:
        # Each letter may be a word, and get an underscore in front of it.
        name = f"{name[: max(1, (35 - len(domain)) // 2)].rstrip('_')}_{topic}"
    fields = _fields(abi)
    body = {
        "source": contract,
        "name": text,
        "__doc__": f"{text} of {contract.name}.",
        "__domain__": domain,
        "__module__": __name__,
        **fields,
    }
    declared: Any = EventMeta(name, (Event,), body)
    return declared  # type: ignore[no-any-return]


def _fields(abi: Mapping[str, Any]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for item in abi["inputs"]:
        name = free_name(column_name(item["name"]), fields)
        fields[name] = field_for_abi(
            item["type"], indexed=item["indexed"], param=item["name"]
        )
    fields[free_name("contract", fields)] = Address(emitter=True)
    return fields


def column_name(param: str) -> str:
    """A parameter's name as that of a column."""
    name = re.sub(r"[^a-z0-9_]", "_", snake_case(param.strip("_$"))) or "arg"
    if name[0].isdigit():
        name = f"arg_{name}"
    name = name[:38]
    return f"{name}_" if name in _SQL or name in RESERVED else name


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first like it with underscores that nothing has."""
    while name in taken:
        name = f"{name}_"
    return name


def _clean(name: str) -> str:
    """An event's name with only letters and digits, beginning with a letter."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "", name).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"Event{cleaned}"


def with_names(item: Mapping[str, Any]) -> dict[str, Any]:
    """The ABI entry with a name for each parameter; names do not enter the topic.

    Parameters without one are `arg0`, `arg1` …, by their place.
    """
    inputs = []
    used: set[str] = set()
    for number, part in enumerate(item.get("inputs", [])):
        name = part.get("name") or f"arg{number}"
        while name in used:
            name = f"{name}_"
        used.add(name)
        indexed = bool(part.get("indexed"))
        inputs.append(
            {**part, "name": name, "type": long_type(part["type"]), "indexed": indexed}
        )
    return {**item, "inputs": inputs}
