"""The reference under `docs/reference`: pages made from what the code declares.

    pages()["cli.md"]

A page is a text that depends on the code alone, so the same code gives the same bytes;
`make docs` writes them and `tests/test_docs.py` compares them with the files.
"""

from ops.docs.books import books_page
from ops.docs.commands import commands_page
from ops.docs.declared import events_page, projections_page
from ops.docs.keys import settings_page
from ops.docs.metrics import metrics_page

__all__ = ["pages"]


def pages() -> dict[str, str]:
    """Every page of the reference, by the name of its file."""
    return {
        "books.md": books_page(),
        "cli.md": commands_page(),
        "events.md": events_page(),
        "metrics.md": metrics_page(),
        "projections.md": projections_page(),
        "settings.md": settings_page(),
    }
