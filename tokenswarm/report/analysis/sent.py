"""Sent: the turns that a run really sent, against what the profile promised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.verdict import kept_up
from tokenswarm.report.analysis.steps import Step
from workload import figures
from workload.figures import Row, Sample


def sent(ledger: Ledger, steps: Sequence[Step]) -> Sample:
    """The turns that were sent after the warm-ups of the levels that the endpoint kept up with; of
    all levels where there is none. (Under overload
    new sessions crowd in, with short prompts.) Without sub-agents:
    the profile's figures are those of developers."""
    windows = [step.window for step in steps if kept_up(step.summary)]
    windows = windows or [step.window for step in steps]
    turns = [
        r
        for r in ledger.records
        if r.sent_at_s is not None  # nor one of the tickets that nobody took
        and ".a" not in r.session
        and any(start_s <= r.scheduled_at_s < end_s for start_s, end_s in windows)
    ]
    return Sample(
        np.array([r.planned_prompt_tokens for r in turns], dtype=np.int64),
        np.array([r.planned_output_tokens for r in turns], dtype=np.int64),
        np.array([r.ideal_cached_tokens for r in turns], dtype=np.int64),
        np.array([r.kind for r in turns], dtype=np.str_),
    )


def rows(ledger: Ledger, sample: Sample) -> list[Row]:
    """Empty where the ledger, of an earlier version, does not say what was promised."""
    return [] if ledger.workload is None else figures.rows(ledger.workload.promises, sample)
