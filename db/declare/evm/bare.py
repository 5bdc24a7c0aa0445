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
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eth_utils.crypto import keccak

from db.declare.events import Event, EventMeta
from db.declare.evm.contract import Contract
from db.declare.evm.signatures import identity, long_type, signature
from db.declare.evm.types import field_for_abi
from db.declare.fields import Address, Field
from db.declare.names import snake_case
from db.declare.naming import clean_name, column_name, emitter_domain, free_name

log = logging.getLogger(__name__)


def declare_events(
    name: str, abi: Sequence[Mapping[str, Any]], *, tagged: bool = True
) -> list[type[Event]]:
    """Declare every event of an ABI under a contract's name in the settings."""
    named = [with_names(item) for item in abi if item.get("type") == "event"]
    named = [item for item in named if _is_known(name, item)]
    # A proxy's ABI often has the events of what it stands for once more.
    named = list({identity(item): item for item in reversed(named)}.values())[::-1]
    contract = Contract(name, tagged=tagged, abi=named or [{"type": "none"}])
    counts = Counter(snake_case(clean_name(item["name"])) for item in named)
    alike = Counter(signature(item) for item in named)
    return [
        _declare(
            contract,
            item,
            overloaded=counts[snake_case(clean_name(item["name"]))] > 1,
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
        log.warning("event_skipped contract=%s event=%s cause=%s", contract,
                    item["name"], error)  # fmt: skip
        return False
    return True


def _declare(
    contract: Contract, abi: Mapping[str, Any], *, overloaded: bool, alike: bool
) -> type[Event]:
    text = identity(abi) if alike else signature(abi)
    name = clean_name(abi["name"])
    topic = keccak(text=signature(abi)).hex()[:8]
    if alike:
        topic += f"_{sum(item['indexed'] for item in abi['inputs'])}"
    if overloaded:
        name = f"{name}_{topic}"
    domain = emitter_domain(contract.name)
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
