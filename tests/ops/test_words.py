"""What verbs print is what a person can read."""

import ast
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from db.registry import Registry
from ops.cli.main import Commands, main
from ops.cli.status import _age
from ops.describe import describe_projection


@pytest.mark.parametrize(("typed", "meant"), [("staus", "status"), ("idex", "index")])
def test_a_misspelt_verb_is_told_with_the_nearest(typed, meant):
    result = CliRunner().invoke(main, [typed])

    assert result.exit_code == 2
    assert f"Did you mean '{meant}'?" in result.output


def test_descriptions_have_no_stray_brackets_and_no_bare_constants():
    for projection in Registry.load().projections.values():
        for line in describe_projection(projection, sql=False):
            assert line.count("(") == line.count(")"), line
            assert ".'" not in line, line
            assert ".1" not in line.split(), line


def test_the_age_of_a_head_is_told_unless_the_chain_has_a_clock_of_its_own():
    now = 1_796_000_000.25

    assert _age(now - 30, now) == "30 s old"
    assert _age(now - 4000, now) == "67 min old"
    assert _age(now - 40_000, now) == "11 h old"
    assert _age(1_700_000_000, now) == "made at 2023-11-14 22:13 UTC"
    assert "made at" in _age(now + 40 * 86_400, now)


def test_help_is_read_from_the_sources_and_imports_next_to_nothing():
    """The verbs' modules take seconds to import."""
    heavy = {"sqlalchemy", "aiohttp", "numpy", "flask", "eth_account", "ops.settings"}
    code = (
        "import sys; from ops.cli.main import Commands, main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))

    assert not heavy & loaded
    for verb in Commands.modules:
        command = main.get_command(click.Context(main), verb)
        summary = f"  {verb:<9} {command.get_short_help_str(200)}"
        assert " ".join(summary.split()) in " ".join(done.stdout.split())
