"""The error of a declaration that cannot mean anything."""

import sys
from pathlib import Path
from types import FrameType


class DeclarationError(Exception):
    """A declaration is wrong; raised at import, before anything can run on it."""

    def __init__(
        self,
        subject: str,
        problem: str,
        remedy: str,
        place: str | None = None,
        shown: str = "",
    ) -> None:
        """`shown` is the wrong line, printed below the message."""
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        place = place or _declared_in()
        super().__init__(f"{place}: {subject}: {problem}. Remedy: {remedy}.{shown}")


def _declared_in() -> str:
    """The file and line of the declaration."""
    frame = _declaring_frame()
    if frame is None:
        return "<unknown file>"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def declaring_file() -> Path | None:
    """The file that declares; None where it is no file."""
    frame = _declaring_frame()
    path = None if frame is None else Path(frame.f_code.co_filename)
    return path if path is not None and path.is_file() else None


def _declaring_frame() -> FrameType | None:
    """The nearest frame outside this package, and outside code without a file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        ours = frame.f_globals.get("__name__", "").startswith("db.declare")
        # A dataclass's own __init__ stands in no file.
        if not ours and frame.f_code.co_filename != "<string>":
            return frame
        frame = frame.f_back
    return None
