"""Every remedy that a message names works: the verb, its options, the settings' keys.

All strings of the product are read from its source, with a placeholder for what is put
into them when they are said. What they call `chainfold …` must be a command that can be
parsed, and what they call a key of the settings must be one.
"""

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest

from ops.cli.main import main
from ops.docs.keys import SECTIONS
from ops.settings import Factory
from ops.settings.tree import SHORT_NAMES

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "commands", "db", "indexer", "ops")
HOLE = "\0"  # what is put in when the message is said

COMMAND = re.compile(r"`chainfold ([^`]+)`|\bchainfold ((?:[a-z]+ )*--?[a-z][a-z-]+)")
SECTION = re.compile(r"\[([a-z]+(?:\.[\w<>\0*]+)*)\](?: ([a-z_0-9]+))?")
ASSIGNED = re.compile(r'\b([a-z_]{3,}) = "')
VARIABLE = re.compile(r"\bCHAINFOLD_[A-Z_]+[A-Z]\b")
# Words of prose that may follow the name of a section.
PROSE = {
    "a", "and", "as", "gives", "holds", "in", "is", "names", "of", "or", "section",
    "table", "that", "to", "with",
}  # fmt: skip
# Keys of tables in tables: how a factory is named.
INNER_KEYS = {each.name for each in fields(Factory)} | {"file", "from_slot"}
# Told to a child process of ours, not by people.
TOLD_TO_CHILDREN = {"CHAINFOLD_NODE_MODULES"}


def strings():
    """(where, text) of every string of the product, docstrings too."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if {"node_modules", ".environments"} & set(path.parts):
                continue
            tree = ast.parse(path.read_text())
            inside = {
                id(part)
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr)
                for part in ast.walk(node)
                if part is not node
            }
            for node in ast.walk(tree):
                where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.JoinedStr):
                    yield where, "".join(map(spoken, node.values))
                elif (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and id(node) not in inside
                ):
                    yield where, " ".join(re.sub(r"\{\w*\}", HOLE, node.value).split())


def spoken(part):
    return str(part.value) if isinstance(part, ast.Constant) else HOLE


def documents():
    for name in ("README.md", "DESIGN.md", "CHANGELOG.md"):
        yield name, " ".join((ROOT / name).read_text().split())


def named_commands(text):
    """The words after `chainfold` of every command that a text names."""
    for found in COMMAND.finditer(text):
        words = (found[1] or found[2]).split()
        if words and "…" not in words[0]:
            yield words


def wrong_with(words):
    """Why this is no command line, or nothing.

    A verb named alone may lack its arguments; one with some must be whole.
    """
    # With its own settings: click remembers the help option of the first context.
    context = click.Context(main, info_name="chainfold", **main.context_settings)
    command: click.Command = main
    rest = list(words)
    while rest and rest[0].startswith("-"):  # options of the root command
        rest = rest[2:]
    while isinstance(command, click.Group) and rest:
        if rest[0] == HOLE:
            return None  # whichever verb it is
        found = command.get_command(context, rest[0])
        if found is None:
            return f"no command {rest[0]!r}"
        command, context = found, click.Context(found, context, info_name=rest.pop(0))
    if not rest or "…" in rest:
        return None
    try:
        command.make_context("it", samples(rest, command), context)
    except click.BadOptionUsage as error:
        # Named with its last option, and without what that takes.
        return None if rest[-1] == error.option_name else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    return None


def samples(words, command):
    """The words as somebody would type them."""
    numbers = (click.types.IntRange, click.types.IntParamType)
    counted = {
        name
        for option in command.params
        if isinstance(option.type, numbers)
        for name in option.opts
    }
    return [
        "1" if before in counted else sample(word, command)
        for before, word in zip(["", *words], words, strict=False)
    ]


def sample(word, command):
    """A word as somebody would type it for what stands there."""
    if word.startswith("--") and "=" not in word:
        return word
    if HOLE in word or word.startswith(("<", "0x", "[")) or word.isupper():
        numbers = (click.types.IntRange, click.types.IntParamType)
        kinds = [type(p.type) for p in command.params if isinstance(p, click.Argument)]
        last = bool(kinds) and issubclass(kinds[-1], numbers)
        return "1" if last else "00000000-0000-0000-0000-000000000001"
    return word


@cache
def sections():
    """Every section's name as a pattern, with its keys."""
    found = []
    for section in SECTIONS:
        name = re.sub(r"<\w+>", "\1", section.name)
        pattern = re.escape(name).replace("\1", r"[\w<>\0*]+")
        found.append((re.compile(f"^{pattern}$"), set(section.keys)))
    return found


def keys():
    return {key for _, keys_ in sections() for key in keys_}


def test_strings_are_found_whole():
    found = dict(strings())

    assert len(found) > 1000
    assert any("`chainfold rewind \0 \0`" in text for text in found.values())


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("status", True), ("staus", False), ("incident list", True),
        ("incident lst", False), ("migrate --drop", True), ("migrate --dorp", False),
        ("rewind \0 \0", True), ("rewind \0", False), ("rewind", True),
        ("incident resolve \0 --reason <why>", True), ("incident resolve \0", False),
        ("sign resume \0", True), ("index --migrate", True),
        ("status --migrate", False),
    ],
)  # fmt: skip
def test_a_remedy_that_does_not_work_is_recognised(words, right):
    assert (wrong_with(words.split()) is None) is right


@pytest.mark.parametrize("source", [strings, documents])
def test_every_command_that_is_named_can_be_given(source):
    named = [(where, words) for where, t in source() for words in named_commands(t)]
    wrong = [
        f"{where}: chainfold {' '.join(words)}: {problem}".replace(HOLE, "{}")
        for where, words in named
        if (problem := wrong_with(words)) is not None
    ]

    assert len(named) > 5
    assert not wrong, "\n".join(["These remedies do not work:", *wrong])


def test_every_section_and_key_of_the_settings_that_is_named_is_one():
    wrong, seen = [], 0
    for where, text in strings():
        if where.startswith(("ops/settings/", "ops/docs/")):
            continue  # they make the names up from what is declared
        for name, key in SECTION.findall(text):
            matching = [known for pattern, known in sections() if pattern.match(name)]
            top = name.split(".")[0]
            if top not in {each.name.split(".")[0] for each in SECTIONS}:
                continue  # brackets of something else
            seen += 1
            if not matching:
                wrong.append(f"{where}: no section [{name}]")
            elif key and key not in PROSE and not any(key in each for each in matching):
                wrong.append(f"{where}: no key {key!r} in [{name}]")
    assert seen > 20
    assert not wrong, "\n".join(["These are no settings:", *wrong])


def test_every_key_that_a_message_sets_is_one():
    wrong = [
        f"{where}: {key}"
        for where, text in strings()
        if not where.startswith(("ops/settings/", "ops/docs/", "db/", "api/"))
        and not where.startswith("examples/solana_chain.py")  # columns of its table
        for key in ASSIGNED.findall(text)
        if key not in keys() | INNER_KEYS
    ]

    assert not wrong, "\n".join(["These are no settings:", *wrong])


def test_every_environment_variable_that_is_named_is_read():
    wrong = [
        f"{where}: {name}"
        for where, text in [*strings(), *documents()]
        for name in VARIABLE.findall(text)
        if name not in {*SHORT_NAMES, *TOLD_TO_CHILDREN}
        and not name.startswith(("CHAINFOLD_TEST_", "CHAINFOLD_CHAIN", "CHAINFOLD_RPC"))
    ]

    assert not wrong, "\n".join(["These are not read:", *wrong])
