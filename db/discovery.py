"""Find domains, in the product and outside it, and import their modules.

A domain is a package or one module. Those of the product are under `db.domains`; a
distribution brings one by an entry point of the group `chainfold.domains`; the settings
name folders and files. What a domain's folder holds and nobody reads is refused.
"""

import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import db.domains
from db.declare import DeclarationError
from db.declare.names import PARTS

GROUP = "chainfold.domains"
# Those of the product itself, each beside its mechanism; they are in every registry.
SYSTEM = (
    "db.books.periods", "db.documents.compliance", "db.journal.anchoring",
    "db.journal.audit", "db.payments.stripe",
)  # fmt: skip
ROUTES = "routes"  # which the API imports
_OTHERS = re.compile(r"__init__|test_\w+|\w+_test|conftest")  # nobody need read


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that was imported: all modules that may declare, and its routes."""

    name: str
    modules: tuple[ModuleType, ...]
    routes: str | None = None  # the module that adds routes to the API


def find_domains(
    chosen: Sequence[str] | None, declarations: Sequence[Path]
) -> Iterator[Domain]:
    """Import the domains chosen, or all that there are; raises DeclarationError."""
    found: dict[str, str | Path] = {}
    for name, place in _everywhere(declarations):
        if found.setdefault(name, place) != place:
            raise DeclarationError(
                f"domain {name}",
                f"it is at {found[name]} and at {place}",
                "rename one, or take one out",
                "declarations",
            )
    for name in found if chosen is None else chosen:
        if name not in found:
            close = difflib.get_close_matches(name, found, n=1)
            raise DeclarationError(
                f"domain {name}",
                f"there is none; known: {', '.join(sorted(found)) or 'none'}",
                f"write {close[0]}"
                if close
                else 'correct it, or name its folder: declarations = ["./<folder>"]',
                "domains",
            )
    for path in declarations:
        if chosen is not None and path.stem not in chosen:
            raise DeclarationError(
                f"declarations {path}",
                f"domains does not name {path.stem}",
                f'add "{path.stem}" to domains, or take {path.name} out',
                "domains",
            )
    for name in SYSTEM:
        yield read_domain(importlib.import_module(name))
    for name, place in found.items():
        if chosen is None or name in chosen:
            yield read_domain(_import(name, place))


def read_domain(module: ModuleType) -> Domain:
    """Import a domain's declarations; refuse files that declare nothing."""
    name = module.__name__.rpartition(".")[2]
    if not hasattr(module, "__path__"):
        return Domain(name, (module,))
    modules, routes = [module], None
    folder = Path(module.__path__[0])
    there = sorted(path.stem for path in folder.glob("*.py"))
    if (folder / ROUTES / "__init__.py").is_file():
        there.append(ROUTES)
    for part in PARTS:
        if importlib.util.find_spec(f"{module.__name__}.{part}") is not None:
            modules.append(importlib.import_module(f"{module.__name__}.{part}"))
    for part in there:
        path = f"{module.__name__}.{part}"
        if part == ROUTES:
            routes = path
        elif path not in sys.modules and not _OTHERS.fullmatch(part):
            raise _unread(folder / f"{part}.py", part)
    prefix = f"{module.__name__}."
    also = [each for path, each in sys.modules.items() if path.startswith(prefix)]
    modules += [each for each in also if each not in modules]
    return Domain(name, tuple(modules), routes)


def _everywhere(declarations: Iterable[Path]) -> Iterator[tuple[str, "str | Path"]]:
    """Every domain's name, and the module or the path that it is imported from."""
    for root in map(Path, db.domains.__path__):
        for path in sorted(root.iterdir()):
            if path.suffix == ".py" and path.stem != "__init__":
                yield path.stem, f"db.domains.{path.stem}"
            elif path.is_dir() and any(path.glob("*.py")):
                _refuse_bare(path)
                yield path.name, f"db.domains.{path.name}"
    for point in entry_points(group=GROUP):
        if point.module.rpartition(".")[2] != point.name:
            raise DeclarationError(
                f"entry point {point.name} = {point.value!r}",
                f"a domain has the name of its module, and that is {point.module}",
                f"write {point.module.rpartition('.')[2]} = {point.value!r}",
                GROUP,
            )
        yield point.name, point.module
    for path in declarations:
        if path.is_dir():
            _refuse_bare(path)
        elif path.suffix != ".py" or not path.is_file():
            raise DeclarationError(
                f"declarations {path}",
                "there is no such folder, and no such .py file",
                "correct the path, or make it with `chainfold new <name>`",
                "declarations",
            )
        yield path.stem, path


def _refuse_bare(folder: Path) -> None:
    if not (folder / "__init__.py").is_file():
        raise DeclarationError(
            f"domain {folder.name}",
            "its folder has no __init__.py, so Python finds nothing in it",
            f"make {folder}/__init__.py, with one sentence on the domain",
            str(folder),
        )


def _unread(file: Path, part: str) -> DeclarationError:
    close = difflib.get_close_matches(part, (*PARTS, ROUTES, "rules"), n=1)
    return DeclarationError(
        file.name,
        f"nobody reads it: what is looked for is {', '.join(PARTS)} and {ROUTES}, and "
        "what these import",
        f"rename it to {close[0]}.py" if close else "import it there, or move it away",
        str(file),
    )


def _import(name: str, place: "str | Path") -> ModuleType:
    """Import a domain by its module's name, or from a folder or file."""
    if isinstance(place, str):
        return importlib.import_module(place)
    file = place / "__init__.py" if place.is_dir() else place
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        problem = "it cannot be a domain's name: lower case with underscores"
        raise DeclarationError(f"domain {name}", problem, "rename it", str(place))
    if known is not None or _is_taken(name, file):
        raise DeclarationError(
            f"domain {name}",
            f"Python knows another module {name}",
            "rename the domain's folder or file",
            str(place),
        )
    inside = [str(place)] if place.is_dir() else None
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=inside
    )
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_taken(name: str, file: Path) -> bool:
    """Whether another module answers to a name."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin != str(file)
