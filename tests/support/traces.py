"""Traces: small ones in tokenswarm's own form, and the published sample where it lies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from workload.traces.read import read_trace
from workload.traces.turns import Trace

# 26 sessions of Claude Code, beside the checkout; the project contains none of them.
SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "weka_traces"
REQUESTS = SAMPLE.parent / "weka_cc_requests.csv.gz"

needs_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason="../shared/data/weka_traces, the published sample, is not there"
)


def line(session: str, at_s: float, prompt: int, output: int = 100, **more: Any) -> dict[str, Any]:
    """One request in the plain form."""
    return {
        "session": session,
        "at_s": at_s,
        "prompt_tokens": prompt,
        "output_tokens": output,
        **more,
    }


def written(path: Path, objects: Iterable[object]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in objects))
    return path


def traced(folder: Path, *objects: object) -> Trace:
    """The trace of these lines."""
    return read_trace(written(folder / "trace.jsonl", objects))
