"""Pages that are reports, drawn by one template: the books, and those of domains.

`console_pages(service)` of a domain's `routes.py` returns them, if it is there.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from api.books import books_page
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


def report_pages(service: Service) -> Iterator[ConsolePage]:
    """The books, if anything is posted to them, and the pages of every domain."""
    if service.registry.postings:
        yield ConsolePage("books", "Books", lambda: books_page(service))
    for name in service.registry.routes:
        pages = getattr(importlib.import_module(name), "console_pages", None)
        if pages is not None:
            yield from pages(service)
