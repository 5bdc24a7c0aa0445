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
    """A page at `/console/<name>`; `report` makes it, and may raise a Problem.

    `old_path` is where an earlier platform had it: a page there leads here, as the
    cookie of those who are signed in is for `/console` alone.
    """

    name: str
    title: str
    report: Callable[[], ReportPage]
    old_path: str = ""


def domain_pages(service: Service) -> Iterator[ConsolePage]:
    """The pages of every domain of the deployment."""
    for name in service.registry.routes:
        pages = getattr(importlib.import_module(name), "console_pages", None)
        if pages is not None:
            yield from pages(service)
