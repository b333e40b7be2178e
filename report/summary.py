"""Summary: the numbers of a run as JSON, for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from measure.ledger import Ledger
from measure.tally import Summary
from report.steps import Step

FORMAT = 1


def write_summary(path: Path, ledger: Ledger, steps: Sequence[Step], whole: Summary) -> None:
    """Write summary.json: complete or not at all, replacing an earlier one.

    {"format", "header", "levels": [{"level", "summary"}], "whole_run", "torn_lines"}; the fields
    are those of Header, Level and Summary, with the derived failed and failure_share.
    """
    stored = {
        "format": FORMAT,
        "header": ledger.header,
        "levels": [{"level": step.level, "summary": _fields(step.summary)} for step in steps],
        "whole_run": _fields(whole),
        "torn_lines": ledger.torn_lines,
    }
    _replace(path, orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _fields(summary: Summary) -> dict[str, object]:
    derived = {"failed": summary.failed, "failure_share": summary.failure_share}
    stored: dict[str, object] = orjson.loads(orjson.dumps(summary))
    return stored | derived


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
