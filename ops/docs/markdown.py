"""The little Markdown that the pages are made of."""

from collections.abc import Iterable, Sequence

MADE = "<!-- Made by `make docs` from the code: change that instead. -->"


def page(title: str, *parts: str) -> str:
    """A whole page from its title and its parts."""
    return "\n\n".join([f"# {title}", MADE, *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are Markdown already, a bar in them is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


def code(text: str) -> str:
    """A piece of code inside a line."""
    return f"`{text}`" if text else ""


def block(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


def paragraphs(doc: str) -> str:
    """A docstring's paragraphs, each in one line."""
    parts = doc.split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)


def summary(doc: str) -> str:
    """A docstring's first paragraph, in one line."""
    return paragraphs(doc).split("\n\n", 1)[0]
