"""The keys that domains of the product declare for themselves."""

from collections.abc import Iterator

from db.declare import Setting
from db.declare.settings import FORMS
from db.registry import settings_tables
from ops.docs.markdown import code
from ops.docs.section import Section, SettingKey


def domain_sections() -> Iterator[Section]:
    """Yield the sections of the domains, as they declare them."""
    for table in settings_tables():
        keys = {
            name: SettingKey(_form(each), each.meaning)
            for name, each in table.settings.items()
        }
        defaults = {name: each.default for name, each in table.settings.items()}
        yield Section(table.domain, table.doc, None, keys, defaults=defaults)


def _form(setting: Setting[bool] | Setting[int] | Setting[float] | Setting[str]) -> str:
    if setting.among:
        return ", ".join(code(f'"{each}"') for each in setting.among)
    return FORMS[setting.kind]
