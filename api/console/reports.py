"""Pages that domains add to the console: a report, drawn by one template.

`console_pages(service)` of a domain's `routes.py` returns them, if it is there.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from api.service import Service
from db.declare.reports import ReportPage


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """A page at `/console/<name>`; `report` makes it, and may raise a Problem."""

    name: str
    title: str
    report: Callable[[], ReportPage]


def domain_pages(service: Service) -> Iterator[ConsolePage]:
    """The pages of every domain of the deployment."""
    for name in service.registry.routes:
        pages = getattr(importlib.import_module(name), "console_pages", None)
        if pages is not None:
            yield from pages(service)
