"""`python -m ops.docs`: write the pages of the reference into the source tree."""

import sys
from pathlib import Path

from ops.docs import pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def write(folder: Path) -> list[str]:
    """Write every page and remove those that are no more; the names that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    changed = []
    for stale in set(folder.glob("*.md")) - {folder / name for name in made}:
        stale.unlink()
        changed.append(stale.name)
    for name, text in made.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(name)
    return sorted(changed)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in write(FOLDER)) or "unchanged\n")
