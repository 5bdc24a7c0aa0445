"""Reads the tables of domains, each as its domain declares it (`db.declare.settings`).

Domains are imported only where the file has a section that nothing else has read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from db.declare import DeclarationError, Setting, SettingsTable
from db.registry import settings_tables
from ops.settings.table import Table
from ops.settings.tree import nearest


def read_domains(
    root: Table, chosen: Sequence[str] | None, declarations: Sequence[Path]
) -> tuple[SettingsTable, ...]:
    """Read the tables of the chosen domains, after all other sections were read."""
    if not root.unread():
        return ()
    try:
        declared = settings_tables(chosen, declarations)
    except DeclarationError as error:
        root.problem(root.unread()[0], str(error))
        root.names()  # nobody can tell which of them are right
        return ()
    return tuple(_read(root, declared))


def _read(
    root: Table, declared: Sequence[type[SettingsTable]]
) -> Iterator[SettingsTable]:
    for table in declared:
        section = root.section(table.domain)
        values = {
            name: _value(section, name, setting)
            for name, setting in table.settings.items()
            if name in section
        }
        section.finish(table.settings)
        yield table(**values)


def _value(section: Table, name: str, setting: Setting[Any]) -> Any:
    """Read one value; its default where there is a problem with it."""
    if setting.kind is bool:
        return section.flag(name, setting.default)
    if setting.kind is not str:
        return section.number(name, setting.default, setting.kind, setting.least)
    found = section.text(name)
    if found is None:
        return setting.default
    if setting.among and found not in setting.among:
        hint = nearest(found, list(setting.among))
        section.problem(name, f"unknown value {found!r}; {hint}")
    if setting.check is not None:
        return section.attempt(name, setting.check, found) or setting.default
    return found
