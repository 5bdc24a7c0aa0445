"""What is written about the product is true of it."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

import db.declare
from abis import load_artifact
from db.declare import Event, Projection
from db.domains.crowdfunding import events
from db.domains.crowdfunding import projections as crowdfunding
from db.registry import Registry
from helpers.programs import SHOP_TEXT
from ops.cli.main import Commands
from ops.docs import pages
from ops.docs.commands import verbs
from ops.docs.keys import documented
from ops.indexing import declared
from ops.settings import SettingsError, load_settings
from test_architecture import ROOT, report

REFERENCE = ROOT / "docs" / "reference"
README = (ROOT / "README.md").read_text()
# The manual: what an author of declarations reads.
MANUAL = (
    "commands",
    "journal",
    "reactions",
    "timers",
    "notices",
    "withdrawals",
    "settings",
    "rules",
    "fields",
    "meanings",
    "events",
    "folds",
    "projections",
    "expressions",
    "errors",
    "solana.accounts",
    "solana.call",
    "solana.tokens",
)
# Names that say what a function is given; nobody writes them in a declaration.
TYPES = {
    "EventView", "Expression", "Field", "FieldKind", "Fold", "Reaction", "RowOf",
    "Tables",
}  # fmt: skip
# Which of our own ABIs stands for one that an example names.
EXAMPLE_ABIS = {
    "abis/erc20.json": "TestToken",
    "abis/UniswapV2Factory.json": "PairFactory",
    "abis/UniswapV2Pair.json": "Pair",
}


def texts() -> list[Path]:
    """Every Markdown file of ours."""
    found = [
        *ROOT.glob("*.md"),
        *(path for top in ("docs", "ops") for path in (ROOT / top).rglob("*.md")),
    ]
    made = {"node_modules", ".environments"}
    return [path for path in sorted(found) if not made & set(path.parts)]


def examples(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def anchors(path: Path) -> set[str]:
    """The headings of a Markdown file as links name them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", t).strip().lower().replace(" ", "-") for t in titles}


def test_the_reference_is_what_the_code_says():
    files = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    made = pages()

    stale = [name for name in {*files, *made} if files.get(name) != made.get(name)]

    assert not stale, f"run `make docs`: {', '.join(sorted(stale))} would change"


def test_the_reference_is_made_the_same_twice():
    assert pages() == pages()


def test_every_verb_is_in_the_reference():
    text = pages()["cli.md"]
    paths = [context.command_path for context in verbs()]

    missing = [path for path in paths if f"\n## {path}\n" not in text]

    assert {f"chainfold {verb}" for verb in Commands.modules} <= {*paths}
    report(missing, "Verbs that nobody can read about; run `make docs`:")


def test_every_verb_is_in_the_readme():
    table = set(re.findall(r"^\| `(\w+)` \|", README, re.M))

    assert set(Commands.modules) == table


COMMANDS = "contracts.<name>.commands.<name>."


def known_keys(tmp_path: Path) -> set[str]:
    """Every key that the settings know, as their own errors name them."""
    address = '"0x' + "11" * 20 + '"'
    sections = {
        "": "",
        "database": "",
        "redis": "",
        "chains.x": 'id = "eip155:1"\nrpc = "http://a"\nfinality = "ibft"',
        "contracts.y": f'abi = "y.json"\naddress = {address}',
        "chains.u": 'id = "solana:1"\nrpc = "http://a"\nfinality = "commitment"',
        "programs.v": 'idl = "v.json"\naddress = "' + "1" * 32 + '"',
        "contracts.y.commands.c": 'role = "operator"\nsigner = "caller"',
        "signers.z": 'kind = "env"\nenv = "Z"\nchain = "x"',
        "limits": "",
        "wallets": "",
        "api": "",
        "auth": "",
        "documents": "",
        "metrics": "",
        "notifications": "",
        "notifications.channels.t": 'url_env = "T"',
        "settlement": "",
        "wallets.solana": "",
        "stripe": 'secret_key_env = "S"\naccount = "acct_1KqzW2LxY"',
        "auth.external.w": 'issuer = "i"\njwks_url = "https://a"\naudience = "a"',
    }
    (tmp_path / "y.json").write_text("[]")
    (tmp_path / "v.json").write_text('{"name": "v"}')
    path = tmp_path / "chainfold.toml"
    path.write_text(
        "".join(
            f"{f'[{name}]' if name else ''}\nqqqqqq = 1\n{text}\n"
            for name, text in sections.items()
        )
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    known = set()
    for problem in caught.value.problems:
        place, _, names = problem.partition("; known here: ")
        assert names, problem
        section = place.split(" ")[0].removesuffix("qqqqqq")
        known |= {section + name for name in names.split(", ")}
    own = {f"chains.{name}": "chains.<name>" for name in "xu"}
    own |= {"contracts.y": "contracts.<name>"}
    own |= {"signers.z": "signers.<name>", "programs.v": "programs.<name>"}
    own["auth.external.w"] = "auth.external.<name>"
    own["notifications.channels.t"] = "notifications.channels.<name>"
    known = {k.replace("contracts.y.commands.c.", COMMANDS) for k in known}
    for name, shown in own.items():
        known = {key.replace(name, shown) for key in known}
    return (
        known
        - {"chains", "contracts", "programs", "signers", "tables"}
        - {"contracts.<name>.commands", *sections}
    )


def test_every_setting_is_in_the_reference(tmp_path):
    named_by_the_operator = {
        "chains.<name>.contracts.<contract>", "chains.<name>.programs.<program>",
        "chains.<name>.tokens.<name>", "chains.<name>.accounts.<name>",
        "chains.<name>.payers.<name>", "chains.<name>.wallets.<name>",
        "contracts.<name>.meanings.<parameter>", "programs.<name>.meanings.<parameter>",
        *(f"tables.<name>.{key}" for key in ("doc", "index", "<column>")),
    }  # fmt: skip

    written = set(documented()) - named_by_the_operator

    assert known_keys(tmp_path) == written, "see ops/docs/keys.py and api_keys.py"


def test_every_metric_is_in_the_reference():
    text = pages()["metrics.md"]
    declared_names = {
        name
        for path in (ROOT / "indexer/metrics.py", ROOT / "api/metrics.py")
        for name in re.findall(r'"(chainfold_[a-z_]+)"', path.read_text())
    }

    missing = [name for name in declared_names if f"`{name}`" not in text]

    assert len(declared_names) > 10
    report(missing, "Metrics that nobody can read about; see ops/docs/metrics.py:")


def test_every_projection_and_event_is_in_the_reference():
    registry = Registry.load()
    made = pages()
    rows, facts = made["projections.md"], made["events.md"]

    missing = [
        f"{plural}.{column}"
        for plural, projection in registry.projections.items()
        for column in projection.spec.columns
        if f"\n| `{column}` |" not in section(rows, f"## {plural}")
    ] + [
        f"{event.spec.table}.{field}"
        for event in registry.events.values()
        for field in event.spec.fields
        if f"\n| `{field}` |" not in section(facts, f"### {event.spec.table}")
    ]

    report(missing, "Columns that nobody can read about; see ops/docs/declared.py:")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next."""
    return text.partition(f"\n{heading}\n")[2].partition("\n#")[0]


def test_every_word_of_the_vocabulary_is_in_its_manual():
    names = ("db.declare", *(f"db.declare.{name}" for name in MANUAL))
    manual = "\n".join(str(importlib.import_module(name).__doc__) for name in names)

    missing = [
        word
        for word in db.declare.__all__
        if word not in TYPES and not re.search(rf"\b{word}\b", manual)
    ]

    report(missing, "Explain in the docstring of its module in db/declare:")
    assert all(getattr(db.declare, word).__doc__ for word in db.declare.__all__)


def test_every_relative_link_leads_somewhere():
    wrong = []
    for path in texts():
        prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            if not file.exists():
                wrong.append(f"{path.relative_to(ROOT)}: {target}")
            elif anchor and anchor not in anchors(file):
                wrong.append(f"{path.relative_to(ROOT)}: no heading {target}")

    report(wrong, "Links that lead nowhere:")


def test_the_settings_of_the_readme_load_and_make_the_tables_it_names(tmp_path):
    """The second example goes into the file of the first."""
    toml = examples(README, "toml")
    for name, ours in EXAMPLE_ABIS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"abi": load_artifact(ours)["abi"]}))
    (tmp_path / "idl").mkdir()
    (tmp_path / "idl" / "gateway.json").write_text(SHOP_TEXT)
    file = tmp_path / "chainfold.toml"

    file.write_text(toml[0])
    first = load_settings(file, {})
    file.write_text("\n".join(toml))
    registry = declared(load_settings(file, {}))

    assert set(first.chains) == {"edge"}
    tables = {event.spec.table for event in registry.events.values()}
    named = re.findall(r"`public\.(\w+)`", README)
    assert set(named) <= {*tables, *registry.projections}
    assert len(named) > 3
    [sql] = re.findall(r"^select (.*) from (\w+) order", README, re.M)
    columns = next(e for e in registry.events.values() if e.spec.table == sql[1])
    assert set(sql[0].split(", ")) <= {*columns.spec.fields, "height"}


def test_the_settings_of_the_reference_load(tmp_path):
    for number, text in enumerate(examples(pages()["settings.md"], "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        assert load_settings(file, {}).chains


def test_the_projection_of_the_readme_is_a_part_of_the_real_one():
    [code] = examples(README, "python")
    names = {**vars(db.declare), "e": events, "__name__": "db.domains.example.readme"}

    exec(code, names)

    shown = names["Holding"].spec
    real = crowdfunding.Holding.spec
    assert shown.doc == real.doc
    assert list(shown.keys) == list(real.keys)
    assert set(shown.columns) <= set(real.columns)


def test_declarations_are_documented_where_they_are_made():
    registry = Registry.load()
    every: list[type[Event] | type[Projection]] = [
        *registry.events.values(),
        *registry.projections.values(),
    ]

    report([c.spec.name for c in every if not c.spec.doc], "Say what it is:")
