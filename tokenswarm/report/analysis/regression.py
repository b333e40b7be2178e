"""Baseline: whether a run is worse than an earlier one by more than is allowed.

A limit fails only if both hold: the change for the worse is outside the noise (its 95% interval
leaves out "no change"), and the change seen is larger than what is allowed. So a run that did not
change fails in about 2.5% of the cases (docs/report.md: fewer below the knee, more close to
saturation), and the report says how large a regression would have been seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.measure.amounts import parse_share
from tokenswarm.measure.quantiles import PERCENTS
from tokenswarm.measure.slo import SHARES, TIMINGS, TOTALS, Timing
from tokenswarm.measure.verdict import kept_up
from tokenswarm.report.analysis.change import Change, change
from tokenswarm.report.analysis.compare import (
    ComparisonError,
    StoredRun,
    by_load,
    load_text,
    pick,
    require_comparable,
)
from tokenswarm.report.analysis.sample import LevelSample, drawn_together
from tokenswarm.report.analysis.steady import steadiness
from tokenswarm.report.analysis.steps import Step, steps
from tokenswarm.report.notation import interval_text, number_text, tpm_text

EXPRESSION = re.compile(r"(?P<metric>[a-z][a-z0-9_]*?)(?:_p(?P<percent>\d+))?\s*=\s*(?P<by>.+)")
UNSETTLED_BASELINE = "the baseline had not settled at this level"
ACCEPTED = (
    f"accepted: {', '.join(TIMINGS)} with _p1 to _p99, or {', '.join(TOTALS)}, and "
    "how much worse they may get: ttft_p50=10%, failures=0.5% (shares: percentage points)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much worse a metric may get: relative, or for shares in percentage points / 100."""

    text: str  # as typed
    metric: str
    percent: int | None
    allowed: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Raises ValueError that names the text, what is wrong and what is accepted."""
        match = EXPRESSION.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"--max-regress {text!r} is not METRIC=PERCENT; {ACCEPTED}")
        name, percent = match["metric"], match["percent"]
        metric = TIMINGS.get(name) or TOTALS.get(name)
        wants = isinstance(metric, Timing)
        if metric is None or wants != (percent is not None):
            raise ValueError(f"--max-regress {text!r}: no such metric; {ACCEPTED}")
        if percent is not None and int(percent) not in PERCENTS:
            raise ValueError(f"--max-regress {text!r}: no such percentile; {ACCEPTED}")
        most = 1.0 if metric.better == ">" or name in SHARES else math.inf
        return cls(
            text=text.strip(),
            metric=name,
            percent=None if percent is None else int(percent),
            allowed=parse_share(f"--max-regress {text!r}:", match["by"], most),
        )

    @property
    def lower_is_better(self) -> bool:
        return (TIMINGS.get(self.metric) or TOTALS[self.metric]).better == "<"

    @property
    def is_share(self) -> bool:
        return self.metric in SHARES

    def worse(self, by: float) -> float:
        """How much worse a change is, in the terms of `allowed`; below 0 it is better."""
        if self.is_share:
            return by if self.lower_is_better else -by
        return by - 1 if self.lower_is_better else 1 - by


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A limit, judged at one level. fails: None when it cannot be judged; `reason` says why."""

    limit: Limit
    load: str  # "2.50M input TPM"
    change: Change
    fails: bool | None
    reason: str = ""

    @property
    def worse(self) -> float | None:
        by = self.change.by.value
        return None if by is None else self.limit.worse(by)

    @property
    def detectable(self) -> float | None:
        """The regression that 80% of such runs would fail for, in the terms of `allowed`."""
        limit = self.limit
        if limit.is_share:
            return self.change.detectable(limit.allowed)
        if not limit.lower_is_better:
            least = math.inf if limit.allowed >= 1 else -math.log1p(-limit.allowed)
            size = self.change.detectable(least)
            return None if size is None else -math.expm1(-size)
        size = self.change.detectable(math.log1p(limit.allowed))
        return None if size is None else math.expm1(size)


def regressions(
    run: StoredRun, baseline: StoredRun, limits: Sequence[Limit], at: float | None = None
) -> list[Regression]:
    """Each limit at one level: `at`, else the highest that the baseline kept up with.

    Raises ComparisonError where the workloads differ or the level is missing in one of them.
    """
    require_comparable(baseline, run)
    load, first, second = _levels(run, baseline, at)
    return [_judged(limit, load, first, second) for limit in limits]


def _levels(
    run: StoredRun, baseline: StoredRun, at: float | None
) -> tuple[str, LevelSample, LevelSample]:
    before, now = (_by_load(each) for each in (baseline, run))
    loads = sorted(load for load in before.keys() & now.keys() if load is not None)
    if not loads:
        raise ComparisonError(f"{run.path} and {baseline.path} have no traffic level in common")
    mode = run.header.fingerprint.mode
    if at is None:
        carried = [load for load in loads if kept_up(before[load].summary)]
        load = (carried or loads)[-1]
    else:
        load = pick(loads, at, mode)
    first, second = drawn_together([baseline.ledger, run.ledger])
    return (
        load_text(load, mode),
        LevelSample(first, before[load]),
        LevelSample(second, now[load]),
    )


def _by_load(run: StoredRun) -> dict[float | None, Step]:
    """Raises ComparisonError for a level that was held twice: which one is meant, nobody says."""
    held = by_load(steps(run.ledger))
    for load, several in held.items():
        if load is not None and len(several) > 1:
            text = load_text(load, run.header.fingerprint.mode)
            raise ComparisonError(f"{run.path} held {text} twice; accepted: each level once")
    return {load: last for load, (*_, last) in held.items()}


def _judged(limit: Limit, load: str, first: LevelSample, second: LevelSample) -> Regression:
    found = change(first, second, limit.metric, limit.percent)
    fails, reason = _fails(limit, found, second)
    if fails and steadiness(first).steady is False:
        fails, reason = None, UNSETTLED_BASELINE
    return Regression(limit=limit, load=load, change=found, fails=fails, reason=reason)


def _fails(limit: Limit, found: Change, second: LevelSample) -> tuple[bool | None, str]:
    if found.base is not None and found.other is None and second.run.timing("ttft")[1].any():
        return True, "beyond the end of the run"
    by = found.by.value
    if by is None:
        return None, "a value is unknown"
    if found.seen is None:
        return None, "too few sessions for an interval"
    worse = limit.worse(by)
    if worse <= limit.allowed:
        return False, "" if found.seen else "inside the noise"
    return (True, "") if found.seen else (False, "inside the noise")


def regression_text(found: Regression) -> str:
    """One line: the limit, both values, the change, the answer, and what could have been seen."""
    limit, answer = found.limit, {True: "REGRESSED", False: "ok", None: "unknown"}[found.fails]
    values = f"{_value(limit, found.change.base)} before, {_value(limit, found.change.other)} now"
    reason = f" ({found.reason})" if found.reason else ""
    seen = ""
    if found.detectable is not None:
        unit = " points" if limit.is_share else "%"
        seen = f"; {_size(100 * found.detectable)}{unit} worse would be seen in 4 of 5 runs"
    by = _by(limit, found.change)
    return f"{limit.text} at {found.load}: {values}, {by}: {answer}{reason}{seen}"


def _size(percent: float) -> str:
    """Two digits: 0.45, 7.2, 23, 720."""
    return f"{percent:.2g}" if percent < 10 else f"{percent:,.0f}"


def _value(limit: Limit, value: float | None) -> str:
    if limit.metric == "tpm":
        return tpm_text(value)
    if limit.is_share:
        return "-" if value is None else f"{value:.2%}"
    return number_text(value)


def _by(limit: Limit, found: Change) -> str:
    if limit.is_share:
        points = found.by.scaled(100)
        return f"{interval_text(points, lambda v: '-' if v is None else f'{v:+.2f}')} points"
    return f"x{interval_text(found.by, number_text)}"
