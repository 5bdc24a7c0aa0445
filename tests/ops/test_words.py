"""What verbs print is what a person can read."""

import pytest
from click.testing import CliRunner

from db.registry import Registry
from ops.cli.main import main
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
