"""Domains are found in the product and outside it; what nobody reads is refused."""

import importlib
import importlib.metadata
import sys

import pytest

import db.domains
from db.declare import DeclarationError, Role
from db.discovery import SYSTEM
from db.registry import Registry

EVENTS = """
from db.declare import Contract, Event, Uint

ABI = [{"type": "event", "name": "Rang", "anonymous": False, "inputs": [
    {"name": "times", "type": "uint8", "indexed": False}]}]
bell = Contract("Bell{name}", abi=ABI)


class Rang(Event):
    "A bell rang."

    source = bell
    times = Uint(8)
"""
PROJECTIONS = """
from db.declare import Count, Key, Projection
from {name}.events import Rang


class Ringing(Projection):
    "How often it rang so many times."

    times = Key()
    rings = Count(Rang)

    plural = "{name}_ringings"
"""
ROLES = 'from db.declare import Role\nRINGER = Role("ringer", self_service=True)\n'
OURS = {"audit", "anchoring", "compliance", "periods", "stripe"}


@pytest.fixture(autouse=True)
def only_what_was_imported_before():
    """Domains of a test are forgotten after it, and their names are free again."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("bells", "chimes", "gongs") or ".bells" in name:
            del sys.modules[name]


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        file = folder / f"{name}.py"
        file.write_text(text.replace("{name}", folder.name))
    return folder


def package(tmp_path, name="bells", **more):
    return write(
        tmp_path / name, __init__='"Bells."', events=EVENTS, projections=PROJECTIONS,
        roles=ROLES, **more,
    )  # fmt: skip


def domains_of(registry):
    declared = [*registry.events.values(), *registry.commands.values()]
    return {each.spec.domain for each in declared}


def test_a_folder_outside_the_product_is_a_domain(tmp_path):
    registry = Registry.load(["bells"], [package(tmp_path)])

    assert {*OURS, "bells"} == domains_of(registry)
    assert "bells.Rang" in registry.events
    assert "bells_ringings" in registry.projections
    assert registry.roles["ringer"].self_service
    assert "investor" not in registry.roles
    assert () == registry.routes


def test_one_module_is_a_domain(tmp_path):
    text = EVENTS + PROJECTIONS.replace("from {name}.events import Rang", "")
    file = write(tmp_path, chimes=text.replace("{name}", "chimes")) / "chimes.py"

    registry = Registry.load(declarations=[file])

    assert {*OURS, "crowdfunding", "settlement", "tokens", "chimes"} == domains_of(
        registry
    )
    assert "chimes_ringings" in registry.projections


def test_a_distribution_brings_a_domain_by_an_entry_point(tmp_path, monkeypatch):
    package(tmp_path)
    info = tmp_path / "bells-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bells\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[chainfold.domains]\nbells = bells\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()

    assert {*OURS, "crowdfunding", "settlement", "tokens", "bells"} == domains_of(
        Registry.load()
    )
    assert {*OURS, "crowdfunding"} == domains_of(Registry.load(["crowdfunding"]))

    (info / "entry_points.txt").write_text("[chainfold.domains]\nrings = bells\n")
    with pytest.raises(DeclarationError, match="the name of its module.*bells = "):
        Registry.load()


def test_what_is_not_chosen_is_not_there():
    nothing = Registry.load([])
    everything = Registry.load()

    assert domains_of(nothing) == OURS == {name.split(".")[-1] for name in SYSTEM}
    assert {"anchor-hash"} == set(nothing.commands)
    assert {} == nothing.reactions
    assert {"auditor", "compliance_officer", "operator"} == set(nothing.roles)
    assert everything.routes == (
        "db.domains.crowdfunding.routes", "db.domains.settlement.routes",
    )  # fmt: skip
    assert {"investor", "issuer"} < set(everything.roles)


def refused(told, *arguments):
    with pytest.raises(DeclarationError, match=told) as caught:
        Registry.load(*arguments)
    assert "Remedy: " in str(caught.value)
    return str(caught.value)


def test_a_domain_that_is_not_there_is_named_with_the_nearest():
    refused("domain crowdfundin: .*Remedy: write crowdfunding", ["crowdfundin"])
    refused("known: crowdfunding.*name its folder", ["lending"])


def test_a_folder_that_is_not_chosen_is_a_contradiction(tmp_path):
    folder = package(tmp_path)

    refused('add "bells" to domains', ["crowdfunding"], [folder])


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refused("no such folder.*chainfold new", None, [tmp_path / "gongs"])


def test_a_folder_without_init_is_refused(tmp_path, monkeypatch):
    folder = package(tmp_path)
    (folder / "__init__.py").unlink()

    assert str(folder) in refused(r"has no __init__\.py", None, [folder])

    monkeypatch.setattr(db.domains, "__path__", [str(tmp_path)])
    refused(r"make .*bells/__init__\.py")


def test_a_misspelt_module_is_refused(tmp_path):
    folder = package(tmp_path)
    (folder / "projections.py").rename(folder / "projection.py")

    told = refused(r"nobody reads it.*rename it to projections\.py", None, [folder])

    assert str(folder / "projection.py") in told


def test_a_module_that_nobody_imports_is_refused(tmp_path):
    folder = package(tmp_path, sums="A = 1\n", test_bells="", conftest="")

    refused("import it there, or move it away", None, [folder])
    (folder / "sums.py").unlink()

    assert "bells.Rang" in Registry.load(None, [folder]).events


def test_a_declaration_in_a_module_that_is_only_imported_is_refused(tmp_path):
    folder = write(
        tmp_path / "bells", __init__='"Bells."', more=EVENTS,
        events="from bells import more\n",
    )  # fmt: skip

    refused(r"declares in settings, roles, events.*move the class", None, [folder])


def test_a_name_that_python_knows_is_refused(tmp_path):
    refused("Python knows another", None, [package(tmp_path, "json")])
    refused("cannot be a domain's name", None, [package(tmp_path, "My-Bells")])


def test_two_domains_of_one_name_are_refused(tmp_path):
    one, other = package(tmp_path / "a"), package(tmp_path / "b")

    refused("it is at .*a/bells and at .*b/bells", None, [one, other])


def test_a_domain_with_an_error_leaves_its_name_free(tmp_path):
    folder = write(tmp_path / "bells", __init__='"Bells."\n1 / 0\n')
    with pytest.raises(ZeroDivisionError):
        Registry.load(None, [folder])

    registry = Registry.load(None, [package(tmp_path)])

    assert registry is not None
    assert folder == tmp_path / "bells"


def test_a_role_that_no_domain_declares_is_refused(tmp_path):
    commands = """
from db.declare import CALLER, Call, Command, Role
from {name}.events import Rang


class Ring(Command):
    "Ring the bell."

    role = Role("rinnger")
    signer = "x"
    call = Call("CampaignFactory.withdrawFees")
    proof = Rang
"""
    folder = package(tmp_path, commands=commands)

    told = refused(r"no domain declares the role .rinnger.*roles\.py", None, [folder])

    assert str(folder / "commands.py") in told


def test_roles_of_the_platform_are_everywhere():
    assert Registry.load([]).roles["operator"] is Role.OPERATOR
