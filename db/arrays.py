"""Arrays as the text that Postgres reads: one literal, however long they are.

A list that the driver writes is an expression for each of its values, and to parse
those costs more than most statements.
"""

from collections.abc import Iterable


def array_text(values: Iterable[str]) -> str:
    """Return an array literal, to be cast to the type of the array."""
    quoted = [each.replace("\\", "\\\\").replace('"', '\\"') for each in values]
    return '{"' + '","'.join(quoted) + '"}' if quoted else "{}"
