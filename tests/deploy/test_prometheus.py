"""The shipped Prometheus configuration and rules, by Prometheus' own promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.promql import series
from tokenswarm.commands.live import CONFIGURATION

ROOT = Path(__file__).parents[2]
FOLDER = CONFIGURATION
METRICS = (ROOT / "docs" / "metrics.md").read_text()
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Debian's prometheus is not installed"
)


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("promtool", *words), cwd=FOLDER, capture_output=True, text=True, timeout=60
    )


@needs_promtool
def test_promtool_accepts_the_configuration():
    checked = promtool("check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stderr
    assert "rules found" in checked.stdout


@needs_promtool
def test_the_rules_do_what_their_unit_tests_say():
    tested = promtool("test", "rules", "rules_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_rule_is_in_a_unit_test():
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    fired = {
        alert["alertname"]
        for test in tests
        for alert in test.get("alert_rule_test", ())
        if alert.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in RULES if "alert" in rule}
    text = (FOLDER / "rules_test.yml").read_text()
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    read = set().union(*(series(rule["expr"]) for rule in RULES))
    assert {name for name in recorded if name not in text} <= read | {
        "target:tokenswarm_ttft_seconds:p99_5m"  # the p50's rule with other numbers
    }


def test_rules_read_series_that_exist():
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for name in set().union(*(series(rule["expr"]) for rule in RULES)) - recorded - {"up"}:
        assert f"`{re.sub(r'_(bucket|sum|count)$', '', name)}`" in METRICS, name


def test_alerts_about_a_simulated_endpoint_say_so():
    for rule in RULES:
        if "simulated" in str(rule.get("annotations")):
            assert "(SIMULATED)" in rule["annotations"]["summary"]
    about_endpoints = ("TtftOverSlo", "TurnsFail", "EngineSaturated")
    for rule in RULES:
        if rule.get("alert") in about_endpoints:
            assert "$labels.simulated" in rule["annotations"]["summary"], rule["alert"]
