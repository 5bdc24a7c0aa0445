"""Sections of the settings' page, with their keys and defaults."""

import enum
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from db.proofs import Proof
from ops.docs.markdown import code

ADDRESSES = "address, or a list"
RATE = '`"<number>/minute"`, or `"none"`'
AMOUNT = '`"1000"` (wei), `"30 gwei"`, `"1.5 ether"`'


@dataclass(frozen=True, slots=True)
class SettingKey:
    """One key: the values that it takes, and its meaning."""

    form: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table of `chainfold.toml`: its keys, and what each of them means."""

    name: str
    meaning: str
    model: type | None
    keys: Mapping[str, SettingKey]
    attributes: Mapping[str, str] = field(default_factory=dict)  # when named otherwise
    defaults: Mapping[str, Any] = field(default_factory=dict)  # without a model

    def default(self, key: str) -> str:
        """Return the default of a key as TOML writes it."""
        if self.model is None:
            return _toml(self.defaults.get(key))
        wanted = self.attributes.get(key, key)
        found = {item.name: item for item in fields(self.model)}[wanted]
        if found.default is not MISSING:
            return _toml(found.default)
        return "" if found.default_factory is not MISSING else "**required**"


def choices(options: type[enum.Enum]) -> str:
    """The values of an enum, as the page lists them."""
    return ", ".join(code(f'"{option.value}"') for option in options)


def _toml(value: Any) -> str:
    """A default as one would write it."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool | tuple):
        return code(json.dumps(value))
    if isinstance(value, Proof):
        members = ", ".join(f'{k} = "{v}"' for k, v in value.as_json().items())
        return code(f"{{ {members} }}")
    if isinstance(value, enum.Enum):
        value = value.value
    return code(f'"{value}"' if isinstance(value, (str, Path)) else f"{value}")
