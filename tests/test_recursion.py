"""No import of the product leaves Python's recursion limit raised."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from db.recursion import RECURSION_LIMIT

ROOT = Path(__file__).parents[1]
PACKAGES = ("abis", "api", "commands", "db", "idl", "indexer", "ops")
RAISERS = ("eth_account", "py_ecc", "web3")

SCRIPT = """
import importlib, json, sys
before = sys.getrecursionlimit()
raised = []
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    if sys.getrecursionlimit() > before:
        raised.append(name)
        sys.setrecursionlimit(before)
print(json.dumps([before, raised]))
"""


def product():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if (
                {"node_modules", ".environments"} & set(parts)
                or "migrations" in parts
                or "__main__" in parts
            ):
                continue
            yield ".".join(parts).removesuffix(".__init__"), path


def imports_a_raiser(path):
    return any(
        name.split(".")[0] in RAISERS
        for node in ast.walk(ast.parse(path.read_text()))
        for name in [
            *([node.module or ""] if isinstance(node, ast.ImportFrom) else []),
            *([a.name for a in node.names] if isinstance(node, ast.Import) else []),
        ]
    )


def raised_by(modules, folder=ROOT):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(modules)],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, raised = json.loads(done.stdout)
    assert before == RECURSION_LIMIT
    return raised


def test_importing_the_product_leaves_the_limit_as_it_is():
    assert [] == raised_by([name for name, _ in product()])


@pytest.mark.parametrize(
    "module", [name for name, path in product() if imports_a_raiser(path)]
)
def test_each_module_that_imports_a_library_that_raises_it_puts_it_back(module):
    assert [] == raised_by([module])


def test_a_dependency_that_raises_the_limit_is_noticed(tmp_path):
    (tmp_path / "raises.py").write_text("import sys; sys.setrecursionlimit(100_000)")

    assert ["raises"] == raised_by(["json", "raises"], tmp_path)
