"""The error of a declaration that cannot mean anything."""

import sys
from types import FrameType


class DeclarationError(Exception):
    """A declaration is wrong; raised at import, before anything can run on it."""

    def __init__(
        self, subject: str, problem: str, remedy: str, place: str | None = None
    ) -> None:
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        place = place or _declared_in()
        super().__init__(f"{place}: {subject}: {problem}. Remedy: {remedy}.")


def _declared_in() -> str:
    """The file and line of the declaration: the nearest frame outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("db.declare"):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "<unknown file>"
