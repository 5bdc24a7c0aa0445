"""Alert rules: Prometheus can read them, and what they name is there."""

import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from ops.cli.main import main

ROOT = Path(__file__).parent.parent
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "ops/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
LINE = re.compile(r"^\| `(chainfold_\w+)` \| \w+ \| ([^|]*) \|", re.MULTILINE)
METRICS = {
    name: set(re.findall(r"`(\w+)`", labels))
    for name, labels in LINE.findall((ROOT / "docs/reference/metrics.md").read_text())
}
SELECTOR = re.compile(r"\b(chainfold_\w+)(?:\{([^}]*)\})?")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_can_be_read_and_names_what_there_is(rule):
    promql_parser.parse(rule["expr"])
    assert rule["labels"]["severity"] in ("page", "ticket")
    named = SELECTOR.findall(rule["expr"])
    assert named
    known = set()
    for metric, labels in named:
        assert metric in METRICS, metric
        used = set(re.findall(r"(\w+)\s*[!=]~?", labels))
        assert used <= METRICS[metric], (metric, used)
        known |= METRICS[metric]
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert shown <= known


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_a_remedy_that_is_there(rule):
    assert rule["annotations"]["summary"].endswith(".")
    for words in re.findall(r"`chainfold ([\w -]+)`", rule["annotations"]["remedy"]):
        command = main
        context = main.make_context("chainfold", [], resilient_parsing=True)
        for word in words.split():
            if word.startswith("-"):
                assert word in {o for p in command.params for o in p.opts}, words
            elif hasattr(command, "get_command"):
                command = command.get_command(context, word)
                assert command is not None, words


def test_every_page_has_a_time_to_pass_or_a_cause_that_stays():
    """What is over after a moment wakes nobody."""
    stays = {"ChainfoldIncident"}
    for rule in RULES:
        if rule["labels"]["severity"] == "page":
            assert "for" in rule or rule["alert"] in stays, rule["alert"]
