"""Lists of objects: filters, pages and what is shown in the place of ids."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from devnet.stripe.book import Book
from devnet.stripe.errors import ApiError
from devnet.stripe.forms import integer
from devnet.stripe.objects import Object

PAGING = ("limit", "starting_after", "ending_before", "expand", "created")
_BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


def page(book: Book, found: Sequence[Object], query: dict[str, Any], url: str) -> Any:
    """Return a page of objects that are ordered with the newest first."""
    kept = [item for item in found if _in_time(item, query.get("created"))]
    limit = integer(query, "limit", 10)
    if not 1 <= limit <= 100:
        raise ApiError(400, "Invalid limit: 1 to 100", param="limit")
    if "starting_after" in query:
        kept = kept[_at(kept, str(query["starting_after"]), "starting_after") + 1 :]
    if "ending_before" in query:
        kept = kept[: _at(kept, str(query["ending_before"]), "ending_before")]
        chosen = kept[-limit:]
    else:
        chosen = kept[:limit]
    paths = [str(each).removeprefix("data.") for each in query.get("expand", [])]
    return {
        "object": "list",
        "url": url,
        "has_more": len(kept) > len(chosen),
        "data": [expanded(book, item, paths) for item in chosen],
    }


def expanded(book: Book, item: Object, paths: Sequence[str]) -> Object:
    """Return a copy of an object with other objects in the place of their ids."""
    shown = copy.deepcopy(book.shown(item))
    for path in paths:
        here: Any = shown
        for part in path.split("."):
            if not isinstance(here, dict) or part not in here:
                raise ApiError(
                    400, f"This property cannot be expanded ({path}).", param="expand"
                )
            value = here[part]
            if isinstance(value, str) and value in book.objects:
                here[part] = copy.deepcopy(book.shown(book.objects[value]))
            here = here[part]
            if here is None:
                break
    return shown


def _in_time(item: Object, bounds: Any) -> bool:
    if bounds is None:
        return True
    created = int(item["created"])
    if not isinstance(bounds, dict):
        return created == integer({"created": bounds}, "created")
    return all(_BOUNDS[name](created, integer(bounds, name)) for name in bounds)


def _at(found: Sequence[Object], id_: str, param: str) -> int:
    for at, item in enumerate(found):
        if item["id"] == id_:
            return at
    raise ApiError(
        404, f"No such object: '{id_}'", code="resource_missing", param=param
    )
