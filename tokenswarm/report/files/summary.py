"""Summary: the numbers of a run as JSON, for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tokenswarm.measure.tally import Summary
from tokenswarm.report.analysis.failures import failure_kinds
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.text.headline import stopped
from workload.whole_file import replace_file

FORMAT = 1


def write_summary(path: Path, found: Result) -> None:
    """Write summary.json: complete or not at all, replacing an earlier one."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    replace_file(path, orjson.dumps(contents(found), option=options))


def contents(found: Result) -> dict[str, Any]:
    """{"format", "header", "verdict", "levels": [{"level", "summary"}], "whole_run", "curve",
    "stopped", "failure_kinds", "workload", "books", "routing", "jobs", "torn_lines"}; the fields
    are those of Header, Check, Level, Summary, CurvePoint, FailureKind, Row, Entry, Routing and
    Jobs, with the derived failed, failure_share and grade."""
    return {
        "format": FORMAT,
        "header": found.ledger.header,
        "verdict": {
            "grade": found.verdict.grade,
            "checks": [_fields(check) for check in found.verdict.checks],
        },
        "levels": [
            {"level": step.level, "summary": _summary(step.summary)} for step in found.steps
        ],
        "whole_run": _summary(found.whole),
        "curve": {
            "points": [_fields(point, "summary") for point in found.curve.points],
            "knee": found.curve.knee,
            "capacities": found.curve.capacities,
        },
        "stopped": stopped(found.ledger) or None,
        "failure_kinds": failure_kinds(found.ledger.records),
        "workload": found.workload,
        "books": found.books,
        "routing": found.routing,
        "jobs": found.jobs,
        "torn_lines": found.ledger.torn_lines,
    }


def _summary(summary: Summary) -> dict[str, object]:
    return _fields(summary) | {"failed": summary.failed, "failure_share": summary.failure_share}


def _fields(value: object, *left_out: str) -> dict[str, object]:
    stored: dict[str, object] = orjson.loads(orjson.dumps(value))
    return {name: stored[name] for name in stored if name not in left_out}
